"""`kobe config show|validate`: every setting, its value and where it came from."""

from typing import Any

from kobe.app.context import Context
from kobe.reports.document import Document, Section, Table


def flatten(values: dict[str, Any], at: str = "") -> dict[str, Any]:
    """Return nested settings as dotted keys."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            found |= flatten(value, f"{at}{key}.")
        else:
            found[f"{at}{key}"] = value
    return found


def run_config_show(ctx: Context, *, origin: bool = False) -> Document:
    """Show every setting."""
    values = flatten(ctx.settings.model_dump(mode="json"))
    rows = tuple((key, _text(value), ctx.origins.get(key, "default")) for key, value in values.items())
    columns: tuple[str, ...] = ("setting", "value", "from")
    if not origin:
        rows, columns = tuple(r[:2] for r in rows), columns[:2]  # type: ignore[misc]
    return Document(
        schema="kobe.config/1",
        title=f"Settings of {ctx.paths.home}",
        sections=(Section(title="", table=Table(columns=columns, rows=rows)),),
        data={"home": str(ctx.paths.home), "values": values, "origins": ctx.origins},
    )


def run_config_validate(ctx: Context) -> Document:
    """Say that the settings are usable; an unusable one never gets here."""
    count = len(flatten(ctx.settings.model_dump(mode="json")))
    return Document(
        schema="kobe.config_validate/1", title="Settings are valid", summary=(f"{count} settings checked",),
        data={"valid": True, "settings": count},
    )  # fmt: skip


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)
