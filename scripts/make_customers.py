"""Write the data that ``trainbox quickstart`` trains on: made-up customers of a made-up telco.

The same seed gives the same file, byte for byte (a test compares). Who leaves follows a formula
with noise, so that a model has something to find and cannot find everything. Run from the
repository root: python scripts/make_customers.py
"""

import csv
import datetime as dt
import math
import random
from pathlib import Path

SEED = 20241121
ROWS = 800
TARGET = Path(__file__).resolve().parents[1] / "daemon" / "trainbox" / "data" / "customers.csv"

COLUMNS = (
    "customer_id", "signed_up", "city", "plan", "monthly_fee", "data_gb", "support_calls",
    "autopay", "last_contact", "age", "churned",
)  # fmt: skip
CITIES = ("Łódź", "Köln", "Porto", "São Paulo", "Oslo", "Brno", "Graz", "Malmö", "Turku", "Gent")
CITY_PULL = {"Łódź": 0.5, "Porto": -0.4, "Oslo": 0.3, "Gent": -0.5}
PLANS = {"basic": 12.9, "plus": 24.9, "family": 39.9, "business": 59.9}
PLAN_PULL = {"basic": 0.6, "plus": 0.0, "family": -0.7, "business": -0.3}
TODAY = dt.date(2024, 11, 1)


def make_row(number: int, rng: random.Random) -> dict[str, object]:
    signed_up = TODAY - dt.timedelta(days=rng.randrange(30, 2400))
    city = rng.choices(CITIES, weights=range(10, 0, -1))[0]
    plan = rng.choices(list(PLANS), weights=(5, 4, 2, 1))[0]
    fee = round(PLANS[plan] + rng.choice((0, 0, 0, 5, 10)) + rng.random(), 2)
    data_gb = round(rng.lognormvariate(2.2, 0.7), 1)
    calls = min(9, int(rng.expovariate(0.7)))
    autopay = rng.random() < 0.6
    contact = TODAY - dt.timedelta(hours=rng.randrange(1, 24 * 400))
    age = rng.randrange(18, 91)
    years = (TODAY - signed_up).days / 365
    pull = (
        0.1 + 0.55 * calls - 0.35 * years + PLAN_PULL[plan] + CITY_PULL.get(city, 0.0)
        + 0.03 * (fee - 25) - (0.9 if autopay else 0.0) + (0.8 if data_gb < 4 else 0.0)
    )  # fmt: skip
    churned = rng.random() < 1 / (1 + math.exp(-1.3 * pull))
    moment = dt.datetime.combine(contact, dt.time(rng.randrange(8, 20), rng.randrange(60)))
    return {
        "customer_id": f"C{number:05d}",
        "signed_up": signed_up.isoformat(),
        "city": city,
        "plan": plan,
        "monthly_fee": fee,
        "data_gb": data_gb,
        "support_calls": calls,
        "autopay": str(autopay).lower(),
        "last_contact": moment.isoformat(sep=" "),
        "age": age,
        "churned": "yes" if churned else "no",
    }


def with_gaps(row: dict[str, object], rng: random.Random) -> dict[str, object]:
    shares = {"city": 0.04, "data_gb": 0.08, "autopay": 0.05, "last_contact": 0.2, "age": 0.12}
    return {
        name: "" if rng.random() < shares.get(name, 0.0) else value for name, value in row.items()
    }


def make_text() -> str:
    rng = random.Random(SEED)
    lines: list[str] = []

    class Lines:
        def write(self, text: str) -> None:
            lines.append(text)

    writer = csv.DictWriter(Lines(), COLUMNS, lineterminator="\n")
    writer.writeheader()
    for number in range(1, ROWS + 1):
        writer.writerow(with_gaps(make_row(number, rng), rng))
    return "".join(lines)


if __name__ == "__main__":
    TARGET.write_text(make_text(), encoding="utf-8")
    print(f"{ROWS} rows in {TARGET}")
