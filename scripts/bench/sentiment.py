"""How far our tone of headlines agrees with a vendor's labels, stock VADER beside it, by halves of time.

python scripts/bench/sentiment.py HEADLINES.parquet
The lexicon was tuned on the first half only; the later half is the one to believe.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from kobe.features import sentiment

LABELS = ("Negative", "Neutral", "Positive")


def classes(compounds: Sequence[float] | npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return 0, 1 or 2 for negative, neutral and positive, by VADER's convention."""
    values = np.asarray(compounds)
    signs: npt.NDArray[np.int64] = (values >= sentiment.POSITIVE).astype(int) - (values <= sentiment.NEGATIVE).astype(
        int
    )
    return 1 + signs


def confusion(truth: np.ndarray, told: np.ndarray) -> np.ndarray:
    """Count pairs: int[3, 3], rows the vendor's label, columns ours."""
    table = np.zeros((3, 3), dtype=int)
    np.add.at(table, (truth, told), 1)
    return table


def figures(table: np.ndarray) -> tuple[float, float, float]:
    """Return accuracy, macro-F1 and Cohen's kappa of a confusion table."""
    n, hits = table.sum(), np.diag(table)
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    accuracy = hits.sum() / n
    f1 = np.divide(2 * hits, rows + columns, out=np.zeros(3), where=rows + columns > 0)
    chance = (rows * columns).sum() / n**2
    return accuracy, f1.mean(), (accuracy - chance) / (1 - chance)


def stock(titles: Sequence[str]) -> list[float]:
    """Score with VADER as it comes."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    engine = SentimentIntensityAnalyzer()
    return [engine.polarity_scores(title)["compound"] for title in titles]


def report(name: str, rows: pl.DataFrame) -> None:
    """Print the table of one half."""
    titles = rows.get_column("title").to_list()
    truth = np.array([LABELS.index(label) for label in rows.get_column("sentiment")])
    shares = ", ".join(f"{label} {n}" for label, n in zip(LABELS, np.bincount(truth, minlength=3), strict=True))
    stamps = rows.get_column("ts").dt.strftime("%Y-%m-%d %H:%M")
    print(f"\n{name}: {len(rows)} rows, {stamps.min()!s} to {stamps.max()!s}")
    print(f"vendor labels: {shares}")
    print(f"{'':14}{'accuracy':>9}{'macro-F1':>9}{'kappa':>8}   vendor rows -/0/+ by our columns -/0/+")
    always = np.full(len(truth), np.bincount(truth).argmax())
    told = {
        "ours": classes(sentiment.score(titles)),
        "stock VADER": classes(stock(titles)),
        "largest class": always,
    }
    for who, values in told.items():
        table = confusion(truth, values)
        accuracy, f1, kappa = figures(table)
        print(f"{who:14}{accuracy:9.3f}{f1:9.3f}{kappa:8.3f}   {table.tolist()}")


def main() -> None:
    """Print both halves, and the later one again without stories that the first half already told."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("headlines", type=Path)
    parser.add_argument("--half", choices=["first", "later"], help="only this half")
    given = parser.parse_args()
    rows = pl.read_parquet(given.headlines).sort("ts", "title", "tickers")
    middle = len(rows) // 2
    first, later = rows[:middle], rows[middle:]
    if given.half != "later":
        report("first half (tuned on)", first)
    if given.half != "first":
        report("later half (not tuned on)", later)
        unseen = later.filter(~pl.col("title").is_in(first["title"].to_list())).unique("title", maintain_order=True)
        report("later half, each title once and none of the first half", unseen)


if __name__ == "__main__":
    main()
