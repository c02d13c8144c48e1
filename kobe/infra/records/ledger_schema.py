"""How events lie in a database: the one statement of the table, of what is asked of it, and of what must guard it.

Every database the ledger speaks takes these statements as they stand, values by name. What differs (the number's
type, the guards' language) is in the module of the database.
"""

VERSION = 1
TABLE = "events"
CREATE_TABLE = f"""CREATE TABLE {TABLE} (
    sequence {{sequence}} PRIMARY KEY,
    stream TEXT NOT NULL,
    entity TEXT NOT NULL,
    kind TEXT NOT NULL,
    at_ns BIGINT NOT NULL,
    payload TEXT NOT NULL,
    key TEXT NOT NULL,
    UNIQUE (stream, key)
)"""
INDEXES = {
    "events_of_entity": f"CREATE INDEX events_of_entity ON {TABLE} (stream, entity)",
    # a fold that goes on from where it was finds its events without walking the stream; older files get it when written
    "events_of_stream": f"CREATE INDEX events_of_stream ON {TABLE} (stream, sequence)",
}
_GUARDED = {TABLE, "events_of_entity"}
GUARDS = {"events_never_change": "UPDATE", "events_never_leave": "DELETE"}
COLUMNS = ("sequence", "stream", "entity", "kind", "at_ns", "payload", "key")

# Whoever inserts holds the only right to write, so the numbers have no gap and stand in the order of the commits.
APPEND = f"""INSERT INTO {TABLE} ({", ".join(COLUMNS)}) VALUES (
    (SELECT COALESCE(MAX(sequence), 0) + 1 FROM {TABLE}), :stream, :entity, :kind, :at_ns, :payload, :key)"""  # noqa: S608
COPY_IN = f"INSERT INTO {TABLE} ({', '.join(COLUMNS)}) VALUES ({', '.join(f':{c}' for c in COLUMNS)})"  # noqa: S608
SAME_KEY = f"SELECT entity, kind, payload FROM {TABLE} WHERE stream = :stream AND key = :key"  # noqa: S608
EXTENT = f"SELECT COUNT(*), COALESCE(MAX(sequence), 0) FROM {TABLE}"  # noqa: S608
PAGE = f"SELECT {', '.join(COLUMNS)} FROM {TABLE} WHERE sequence > :after ORDER BY sequence LIMIT :rows"  # noqa: S608
NEWEST = f"SELECT {', '.join(COLUMNS)} FROM {TABLE} ORDER BY sequence DESC LIMIT 1"  # noqa: S608
_EVENTS = f"SELECT {', '.join(COLUMNS[:-1])} FROM {TABLE} WHERE stream = :stream AND sequence > :after"  # noqa: S608
OF_STREAM = f"{_EVENTS} ORDER BY sequence"
OF_ENTITY = f"{_EVENTS} AND entity = :entity ORDER BY sequence"


def missing(names: set[str], guards: set[str]) -> set[str]:
    """Return what a ledger must have and this one has not.

    Args:
        names: tables, indexes and triggers that are there.
        guards: the triggers that this database must have.
    """
    return (_GUARDED | guards) - names
