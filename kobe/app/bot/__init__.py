"""The bot: reads what chats ask, answers from the use cases, and takes orders only from operators who confirm."""
