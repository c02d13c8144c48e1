"""What the tests of the ledger share: a program that knows nothing of kobe, at work in the ledger's database."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any


def foreign(address: str, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements in the database of a ledger, kept one by one, and return the rows of the last."""
    rows: list[tuple[Any, ...]] = []
    if "://" in address:
        import psycopg

        with psycopg.connect(address, autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement)
                rows = cursor.fetchall() if cursor.description else []
        return rows
    Path(address).parent.mkdir(exist_ok=True)
    with closing(sqlite3.connect(address, isolation_level=None)) as connection:
        for statement in statements:
            rows = connection.execute(statement).fetchall()
    return rows
