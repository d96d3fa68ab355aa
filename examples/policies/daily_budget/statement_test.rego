package portcullis.daily_budget_test

import data.portcullis.fixtures_test as fixtures
import data.portcullis.statement.daily_budget.deny
import data.portcullis.statement.daily_budget.limit

ask(class, had) := object.union(fixtures.ask("bot", {"class": class}), {"budget": {"day": had}})

budgets := {"agent": {"rows": 100, "bytes": 5000, "statements": 10}}

rules(class, had) := found if {
	found := {reason.message | some reason in deny} with input as ask(class, had)
		with data.daily_budget as budgets
}

test_within if rules("read", {"rows": 99, "bytes": 4999, "statements": 9}) == set()

test_used_up if {
	rules("read", {"rows": 100, "bytes": 0, "statements": 0}) == {"you have had 100 of 100 rows today"}
	rules("read", {"rows": 0, "bytes": 6000, "statements": 0}) == {"you have had 6000 of 5000 bytes today"}
	rules("read", {"rows": 0, "bytes": 0, "statements": 10}) == {"you have had 10 of 10 statements today"}
}

test_the_way_out_is_open if rules("transaction", {"rows": 100, "bytes": 0, "statements": 0}) == set()

test_the_last_result_gets_what_is_left if {
	limit == {{"rows": 1}, {"bytes": 4000}} with input as ask("read", {"rows": 99, "bytes": 1000, "statements": 0})
		with data.daily_budget as budgets
}
