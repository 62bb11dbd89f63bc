"""Rules that keep the code readable: plain words, one meaning per name, short files, a pure core, tests.

What imports what is checked by `lint-imports`. An exception is named here with its reason.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline import contracts
from pipeline.agents import live
from pipeline.cli.main import main
from pipeline.settings import Settings
from pipeline.stages import STAGES
from pipeline.stores.kafka import topics
from pipeline.worker import wiring

ROOT = Path(__file__).parent.parent
PIPELINE = ROOT / "pipeline"
CORE = PIPELINE / "core"
SOURCES = sorted([*PIPELINE.rglob("*.py"), *(ROOT / "tests").rglob("*.py")])

MOST_LINES = 400
MOST_FUNCTION_LINES = 70

IMPURE = {"time", "random", "os", "io", "socket", "subprocess", "threading", "asyncio", "pathlib", "logging"}
CLOCKS = {"now", "utcnow", "today"}  # of datetime

FLOATS = {"pipeline/core/values/json_value.py": "refuses a JSON number that a float does not hold exactly"}

# Core modules without a test file of their own, and what tests them instead.
TESTED_ELSEWHERE = {
    "bills/billed_parts": "bills/test_money_reconcile.py",
    "bills/recounted_usage": "bills/test_money_reconcile.py",
    **dict.fromkeys((
        "bills/bill_alerts", "bills/credit_commands", "bills/credit_rows", "bills/credit_step",
        "credits/grant_reading", "invoices/credited_lines", "notifications/credit_events",
    ), "bills/test_customer_credits.py"),
    **dict.fromkeys((
        "bills/bill_index", "bills/bill_moment", "bills/bill_rows", "bills/bill_sweep", "bills/collection",
        "bills/customer_bills", "bills/customer_groups", "bills/customer_invoices", "bills/customer_record",
        "bills/customer_step", "bills/definitions", "bills/drafts", "bills/flow", "bills/gathering_invoice",
    ), "bills/test_bill_table.py"),
    "access/key_text": "access/test_api_key.py",
    "billing/app": "billing/test_customer_app.py",
    "billing/marketplace": "billing/test_app_commands.py",
    "billing/stripe_meter": "billing/test_customer_app.py",
    "bills/collected_again": "bills/test_collection_changes.py",
    "bills/custom_callbacks": "bills/test_invoice_commands.py",
    "bills/invoice_update": "bills/test_invoice_commands.py",
    "bills/issues": "bills/test_problems.py",
    "bills/problem_notes": "bills/test_problems.py",
    "bills/placing": "bills/test_bill_table.py",
    "bills/stored_group": "bills/test_group_rows.py",
    "bills/subscription_sync": "bills/test_bill_table.py",
    "bills/line_group": "bills/test_bill_table.py",
    "bills/terms": "bills/test_bill_table.py",
    "catalog/addon": "catalog/test_addon_commands.py",
    "catalog/addon_validation": "catalog/test_catalog_issue.py",
    "catalog/catalog_now": "catalog/test_plan_commands.py",
    "catalog/catalog_version": "catalog/test_plan_commands.py",
    "catalog/plan": "catalog/test_plan_commands.py",
    "catalog/plan_addon": "catalog/test_plan_addon_commands.py",
    "catalog/plan_addon_validation": "catalog/test_catalog_issue.py",
    "catalog/plan_reading": "catalog/test_plan_commands.py",
    "catalog/plan_validation": "catalog/test_catalog_issue.py",
    "billing/stripe_index": "billing/test_stripe_table.py",
    "billing/stripe_lanes": "billing/test_stripe_table.py",
    "billing/stripe_mappings": "billing/test_stripe_table.py",
    "billing/stripe_rows": "billing/test_stripe_table.py",
    "billing/stripe_state": "billing/test_stripe_table.py",
    "billing/stripe_sweep": "billing/test_stripe_table.py",
    "bills/usage_cell": "bills/test_usage.py",
    "bills/usage_members": "bills/test_usage.py",
    "bills/usage_rows": "bills/test_usage.py",
    "catalog/price": "catalog/test_price_reading.py",
    "catalog/rate_card": "catalog/test_rate_card_reading.py",
    "catalog/rate_card_validation": "catalog/test_catalog_issue.py",
    "catalog/version_commands": "catalog/test_plan_commands.py",
    "catalog/version_json": "catalog/test_plan_commands.py",
    "catalog/version_validation": "catalog/test_catalog_issue.py",
    "definitions/barrier": "metering/test_backfill.py",
    "definitions/context": "test_control.py",
    "definitions/index": "test_control.py",
    "definitions/kinds": "test_control.py",
    "invoices/progress": "invoices/test_machine.py",
    "metering/cloudevent": "metering/test_event.py",
    "metering/combine": "metering/test_aggregate_laws.py",
    "metering/extract": "metering/test_meter.py",
    "metering/identity": "metering/test_event.py",
    "metering/usage_result": "metering/test_usage_query.py",
    "metering/window_state": "metering/test_aggregate.py",
    "notifications/balance_events": "notifications/test_balance_alerts.py",
    "notifications/delivery_table": "notifications/test_delivery.py",
    "notifications/entitlement_rules": "notifications/test_rule.py",
    "notifications/fired_rows": "notifications/test_balance_alerts.py",
    "notifications/endpoint": "test_stored_bodies.py",
    "notifications/endpoint_commands": "test_control.py",
    "quota/account_balance": "notifications/test_account_step.py",
    "quota/account_members": "quota/test_balance_laws.py",
    "quota/account_usage": "quota/test_balance.py",
    "quota/balance_machine": "quota/test_balance_laws.py",
    "quota/balance_result": "quota/test_balance.py",
    "quota/entitlement_json": "../api/quota/test_entitlements.py",
    "quota/entitlement_lookup": "quota/test_entitlement_commands.py",
    "quota/grant": "quota/test_burndown.py",
    "quota/grant_commands": "quota/test_entitlement_commands.py",
    "quota/managed_entitlement": "subscriptions/test_entitlements.py",
    "quota/terms": "quota/test_balance.py",
    "rating/credit_allocation": "rating/test_openmeter_pricing.py",
    "rating/models": "rating/test_rate.py",
    "rating/tariff": "rating/test_rate.py",
    "rating/units": "rating/test_rate.py",
    "subscriptions/active_span": "subscriptions/test_timeline.py",
    "subscriptions/addon_json": "subscriptions/test_subscription_json.py",
    "subscriptions/addon_overlay": "subscriptions/test_subscription_addons.py",
    "subscriptions/addon_reading": "subscriptions/test_decide.py",
    "subscriptions/customization": "subscriptions/test_edit.py",
    "subscriptions/edit_place": "subscriptions/test_edit_items.py",
    "subscriptions/edit_reading": "subscriptions/test_decide.py",
    "subscriptions/order_reading": "subscriptions/test_decide.py",
    "subscriptions/subscription": "subscriptions/test_from_plan.py",
    "subscriptions/timing": "subscriptions/test_cancel.py",
    "subscriptions/timing_reading": "subscriptions/test_decide.py",
    "values/currency": "values/test_money.py",
    "values/json_number": "../api/quota/test_entitlements.py",
    "values/json_value": "../api/test_foreign_input.py",
    "values/strict_toml": "../cli/test_foreign_input.py",
    "values/table": "../engine/test_table.py",
    "values/user_time": "../api/metering/test_usage.py",
}  # fmt: skip

# Words that do not occur in prose and names of the code, and what to write in their place.
PLAIN_WORDS = {
    "told": "fired, sent, reported",
    "tells": "reports, fires",
    "said": "reported, published",
    "heard": "received",
    "hears": "receives",
    "wish": "command, request",
    "whom": "the customer",
    "nobody": "no worker, no program",
    "somebody": "another program, a caller",
    "whoever": "the process that",
    "anew": "again; to make anew is to recreate",
    "afresh": "again",
    "neighbour": "service",
    "under way": "in progress",
    "made true": "committed",
    "becomes true": "is committed",
    "what became of": "the result of",
    "came of": "resulted from",
    "to be had": "available",
    "stands for": "means",
    "comes to": "is",
    "goes by": "uses",
    "goes on": "continues",
    "is away": "is unavailable",
    "by chance": "random",
    "passed over": "skipped",
    "sign of life": "heartbeat",
    "looked at": "checked",
}
# Words that are stored or sent, and so stay.
SENT_WORDS = {
    ("pipeline/agents/alert.py", "told"): "the name of a count, in records of `counts`",
    ("pipeline/api/operation/answers.py", "neighbour"): "a member of the response of /status, and its schema",
    ("pipeline/api/operation/status.py", "neighbour"): "a member of the response of /status",
    ("pipeline/cli/output.py", "neighbour"): "a member of the response of /status",
    ("tests/api/operation/test_status.py", "neighbour"): "a member of the response of /status",
    ("tests/api/test_frozen_stores.py", "neighbour"): "a member of the response of /status",
    ("tests/containers/checks.py", "neighbour"): "a member of the response of /status",
    ("tests/flow/test_security.py", "neighbour"): "a member of the response of /status",
    ("tests/cli/test_metering.py", "neighbour"): "a member of the response of /status",
    ("tests/cli/test_status.py", "neighbour"): "a member of the response of /status",
    ("tests/api/recording/metering.py", "under way"): "the name of a recorded request",
    ("tests/api/recording/operation.py", "is away"): "the name of a recorded request",
    ("tests/api/recording/quota.py", "anew"): "the name of a recorded request",
    ("tests/local/test_private.py", "nobody"): "a user of the operating system",
}


# Docstrings that name a module which is not there yet, as (path, module).
PLANNED: frozenset[tuple[str, str]] = frozenset()


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


_UNPLAIN = re.compile(
    rf"(?<![a-z])({'|'.join(PLAIN_WORDS).replace(' ', chr(92) + 's+')})(?:s|es|')?(?![a-z])"
)


def unplain_words(text: str) -> set[str]:
    """The words of PLAIN_WORDS that occur in prose or in names such as `_told` and `WishList`."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower()
    return {" ".join(word.split()) for word in _UNPLAIN.findall(spaced)}


def test_prose_and_names_use_plain_words() -> None:
    found = {
        (name_of(path), word)
        for path in SOURCES
        if path != Path(__file__)
        for word in unplain_words(path.read_text("utf-8"))
    }
    assert found == set(SENT_WORDS), [f"{name}: {word}, use {PLAIN_WORDS[word]}" for name, word in found]


def modules_named(docstring: str) -> Iterator[str]:
    """The modules of this repository that a docstring names in parentheses, as in `usage (api.metering.usage)`."""
    for inside in re.findall(r"\(([a-z_., ]+)\)", docstring):
        for name in inside.split(", "):
            if "." in name and (PIPELINE / name.split(".")[0]).is_dir():
                yield name


def test_docstrings_name_modules_that_exist() -> None:
    missing = []
    for path in PIPELINE.rglob("*.py"):
        for name in modules_named(ast.get_docstring(tree_of(path)) or ""):
            place = PIPELINE.joinpath(*name.split("."))
            if not place.with_suffix(".py").exists() and not place.is_dir():
                missing.append((name_of(path), name))
    assert set(missing) <= PLANNED


@pytest.mark.parametrize("text", ["nobody knows", "def _told()", "class WishList", "what became\n    of it"])
def test_an_unplain_word_is_seen(text: str) -> None:
    assert unplain_words(text)


@dataclass(frozen=True)
class Outline:
    """What the rules need of a module. functions: of each, its place and how many lines it has."""

    types: list[str]
    functions: list[tuple[str, int]]


@cache  # of the outline: a tree would keep the garbage collector busy
def outline_of(path: Path) -> Outline:
    module = tree_of(path)
    functions = [
        (f"{name_of(path)}:{node.lineno} {node.name}", (node.end_lineno or 0) - node.lineno + 1)
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return Outline(list(types_of(module)), functions)


def types_of(module: ast.Module) -> Iterator[str]:
    """The public classes of a module, and its names for types."""
    for node in module.body:
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if re.fullmatch(r"[A-Z]\w*[a-z]\w*", name):
                yield name


def test_no_name_of_a_type_means_two_things() -> None:
    found: dict[str, list[str]] = defaultdict(list)
    for path in PIPELINE.rglob("*.py"):
        for name in outline_of(path).types:
            if not name.startswith("_"):
                found[name].append(name_of(path))
    assert {name: places for name, places in found.items() if len(places) > 1} == {}


def test_files_are_short() -> None:
    long = [name_of(path) for path in SOURCES if len(path.read_text("utf-8").splitlines()) > MOST_LINES]
    assert long == []


def test_functions_are_short() -> None:
    functions = [function for path in SOURCES for function in outline_of(path).functions]
    assert [name for name, lines in functions if lines > MOST_FUNCTION_LINES] == []


def impurities(module: ast.Module) -> Iterator[str]:
    """What reads a clock, makes a float, or reaches outside."""
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            yield f"{node.lineno}: the float {node.value}"
        elif isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            yield f"{node.lineno}: a division that makes a float"
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("float", "open")
        ):
            yield f"{node.lineno}: {node.func.id}()"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CLOCKS:
            yield f"{node.lineno}: .{node.func.attr}()"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"{node.lineno}: {name}" for name in names if name.partition(".")[0] in IMPURE)


def test_core_has_no_float_and_no_clock() -> None:
    found = {name_of(path): list(impurities(tree_of(path))) for path in CORE.rglob("*.py")}
    assert {name for name, what in found.items() if what} == set(FLOATS), found


@pytest.mark.parametrize(
    "text", ["a = 0.5", "a = b / c", "float(a)", "datetime.now()", "import time", "from os import path"]
)
def test_an_impure_line_is_seen(text: str) -> None:
    assert list(impurities(ast.parse(text)))


def test_every_core_module_has_its_test_or_is_named() -> None:
    tests = ROOT / "tests" / "core"
    modules = {
        path.relative_to(CORE).with_suffix("") for path in CORE.rglob("*.py") if path.stem != "__init__"
    }
    without = {
        module.as_posix()
        for module in modules
        if not (tests / module.parent / f"test_{module.name}.py").exists()
    }
    assert without == set(TESTED_ELSEWHERE)
    assert [test for test in TESTED_ELSEWHERE.values() if not (tests / test).exists()] == []


def test_every_stage_is_wired_and_has_its_agent() -> None:
    assert set(wiring._STAGES) == set(STAGES)
    assert [
        stage for stage in STAGES if not (PIPELINE / "agents" / f"{stage.replace('-', '_')}.py").exists()
    ] == []


def test_topics_name_the_stages_that_read_them() -> None:
    settings = Settings.model_construct()
    declared = topics.load(settings)
    read: dict[str, set[str]] = defaultdict(set)
    for stage in STAGES:
        inputs = (live.INPUT,) if stage == "live" else wiring.wire(stage, settings, declared).spec.inputs
        for topic in inputs:
            read[topic].add(stage)
    missing = {topic: stages - set(declared[topic].consumers) for topic, stages in read.items()}
    assert {topic: stages for topic, stages in missing.items() if stages} == {}


def test_metrics_name_stages() -> None:
    assert {metric.stage for metric in contracts.metrics()} <= {*STAGES, "api", "each"}


def test_the_help_of_worker_names_every_stage() -> None:
    text = CliRunner().invoke(main, ["worker", "--help"]).output
    assert [stage for stage in STAGES if not re.search(rf"\b{stage}\b", text)] == []
