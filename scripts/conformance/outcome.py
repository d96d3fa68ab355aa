"""Holds what a suite printed through a judging gateway against what it printed direct.

Each place where the two differ is one of: a statement that was refused for a published reason; something that was
refused by both, in other words; what follows from an earlier refusal in the same database (a table that was not made is
not there), as an error or as other rows; or an error of the gateway, which is what this looks for. Other rows are counted
apart, because that is where a wrong result would hide.
"""

import collections
import difflib
import re

# Why a statement may be refused where the rulebook itself refuses nothing.
REASONS = {
    "not_understood": "the gateway can't tell what the statement would touch",
    "unresolved": "it names something that is not there, or that can't be seen",
    "mask": "it can't be rewritten so that a mask is sure to hold",
    "syntax": "it is not SQL by the gateway's grammar",
    "catalog": "the catalog could not be read while somebody else changed it",
    "not_as_planned": "its result is not the one that was planned",
}

PLANNED = re.compile(r"^ERROR: +the result has \d+ columns where \d+ were planned")
REFUSED = re.compile(r"^DETAIL: +rule (\w+)(?:, decision \w+)?$")


class Report:
    """What became of all tests."""

    def __init__(self):
        self.reasons = collections.Counter()
        self.tests = collections.defaultdict(collections.Counter)
        self.errors = []

    @property
    def unexplained(self):
        return len(self.errors)

    def add(self, test, kind):
        self.tests[test][kind] += 1

    def markdown(self):
        lines = ["| reason | statements | meaning |", "|---|---:|---|"]
        for rule, count in self.reasons.most_common():
            lines.append(f"| `{rule}` | {count} | {REASONS.get(rule, '**not published**')} |")
        kinds = ("refused", "words", "follows", "rows", "unexplained")
        lines += ["", "| test | refused | other words | follows | other rows | unexplained |", "|---|---:|---:|---:|---:|---:|"]
        for test, counts in self.tests.items():
            lines.append(f"| {test} | " + " | ".join(str(counts[kind]) for kind in kinds) + " |")
        lines += ["", *(f"{test}:\n{what}" for test, what in self.errors)]
        return "\n".join(lines)


def compare(direct, judged):
    """A report on each test of `judged` that passed direct and not there."""
    report = Report()
    refused_before = False
    for test in direct.tests:
        if test in judged.passed or test not in direct.passed:
            continue
        before, after = (printed(result, test) for result in (direct, judged))
        refused_before |= compare_test(report, test, before, after, refused_before)
    report.errors += [("", f"reason `{rule}` is not published") for rule in report.reasons if rule not in REASONS]
    return report


def compare_test(report, test, before, after, refused_before):
    """Adds what differs in one test; whether anything was refused in it."""
    refused = False
    for kind, a, b, c, d in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        rules = [found[1] for line in after[c : d + 2] if (found := REFUSED.match(line))]
        rules += ["not_as_planned" for line in after[c:d] if PLANNED.match(line)]
        errors = [any(line.startswith("ERROR:") for line in lines) for lines in (before[a:b], after[c:d])]
        if rules:
            report.reasons.update(rules)
            report.add(test, "words" if errors[0] else "refused")
            refused = True
        elif refused or refused_before:
            report.add(test, "follows" if any(errors) else "rows")
        else:
            report.add(test, "unexplained")
            report.errors.append((test, "\n".join(["-" + line for line in before[a:b]] + ["+" + line for line in after[c:d]])))
    return refused


def printed(result, test):
    text = (result.folder / "results" / f"{test}.out").read_text(errors="replace")
    return text.splitlines()
