"""Random prices by usage, of every type, as a plan and a price list send them."""

from __future__ import annotations

from random import Random

from tests.fixtures.catalog_bodies import Body

TYPES = ("unit", "package", "dynamic", "graduated", "volume", "percentage", "graduated_percentage")


def amount(random: Random, most: int) -> str:
    """Decimal text above 0, with 0 to 4 digits after the point."""
    digits = random.randrange(5)
    value = random.randrange(1, most * 10**digits)
    return f"{value // 10**digits}.{value % 10**digits:0{digits}}" if digits else str(value)


def random_price(random: Random, kind: str) -> Body:
    """A price of a type. Half of them have a minimum, half a maximum above it."""
    price: Body = {"type": kind}
    match kind:
        case "unit":
            price["amount"] = amount(random, 3)
        case "package":
            price |= {"amount": amount(random, 9), "quantityPerPackage": str(random.randrange(2, 40))}
        case "dynamic":
            price["multiplier"] = amount(random, 3)
        case "percentage":
            price |= {"rate": amount(random, 90), "freeAmount": amount(random, 30)}
        case "graduated_percentage":
            first = {
                "upToAmount": str(random.randrange(5, 90)),
                "rate": amount(random, 20),
                "flatAmount": "1.5",
            }
            price["tiers"] = [first, {"rate": amount(random, 9)}]
        case _:
            price |= {"type": "tiered", "mode": kind, "tiers": _tiers(random)}
    least = random.randrange(1, 20) if random.random() < 0.5 else 0
    if least:
        price["minimumAmount"] = f"{least}.005"
    if random.random() < 0.5:
        price["maximumAmount"] = str(least + random.randrange(1, 60))
    return price


def _tiers(random: Random) -> list[Body]:
    bounds = [str(one) for one in sorted(random.sample(range(10, 400), random.randrange(4)))]
    tiers: list[Body] = []
    for bound in (*bounds, None):
        unit = {"type": "unit", "amount": amount(random, 2)}
        flat = {"type": "flat", "amount": amount(random, 5)} if random.random() < 0.5 else None
        tiers.append(
            ({} if bound is None else {"upToAmount": bound}) | {"unitPrice": unit, "flatPrice": flat}
        )
    return tiers


def random_card(random: Random, kind: str) -> Body:
    """A price with the rest of a rate card that changes what is billed."""
    card: Body = {"price": random_price(random, kind)}
    if random.random() < 0.4:
        card["discounts"] = {"percentage": {"percentage": random.choice([10, 12.5, 33.3])}}
    if random.random() < 0.4:
        card["discounts"] = card.get("discounts", {}) | {"usage": {"quantity": str(random.randrange(1, 60))}}
    if random.random() < 0.4:
        card["unitConfig"] = {
            "operation": random.choice(["divide", "multiply"]),
            "conversionFactor": random.choice(["3", "0.7"]),
            "rounding": random.choice(["none", "ceiling", "floor", "half_up"]),
        }
    return card
