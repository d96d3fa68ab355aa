package portcullis.lockout_test

import data.portcullis.fixtures_test as fixtures
import data.portcullis.statement.lockout.alert
import data.portcullis.statement.lockout.deny

ask(class, denied) := object.union(fixtures.ask("bot", {"class": class}), {"budget": {"hour": {"denied": denied}}})

locked(class, denied) if {
	count(deny) == 1 with input as ask(class, denied) with data.lockout.most as 5
	count(alert) == 1 with input as ask(class, denied) with data.lockout.most as 5
}

test_locked if {
	locked("read", 5)
	locked("read", 50)
}

test_not_yet if not locked("read", 4)

test_the_way_out_is_open if not locked("transaction", 5)
