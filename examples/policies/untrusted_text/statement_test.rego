package portcullis.untrusted_text_test

import data.portcullis.fixtures_test as fixtures
import data.portcullis.statement.untrusted_text.escalate
import data.portcullis.statement.untrusted_text.label
import data.portcullis.statement.untrusted_text.limit

labels := {"public.tickets": {"body": ["untrusted"]}, "public.customers": {"notes": ["personal", "untrusted"]}}

read(name, columns) := found if {
	touched := fixtures.table("public", name, "read", {"columns_read": columns})
	found := label with input as fixtures.ask("bot", {"tables": [touched]}) with data.untrusted_text as labels
}

test_labels if {
	read("tickets", ["id", "body"]) == {"untrusted"}
	read("customers", ["notes"]) == {"personal", "untrusted"}
	read("customers", ["id"]) == set()
	read("orders", ["body"]) == set()
}

asked(class, session) := count(found) if {
	input_now := object.union(fixtures.ask("bot", {"class": class}), {"labels": {"session": session}})
	found := escalate with input as input_now
}

test_both_and_a_write if asked("write", ["personal", "untrusted"]) == 1

test_not_both_or_no_write if {
	asked("write", ["personal"]) == 0
	asked("write", ["untrusted"]) == 0
	asked("read", ["personal", "untrusted"]) == 0
}

ceilings(session) := found if {
	input_now := object.union(fixtures.ask("bot", {}), {"labels": {"session": session}})
	found := limit with input as input_now
}

test_few_rows_once_both_were_read if {
	ceilings(["personal", "untrusted"]) == {{"rows": 20}}
	ceilings(["untrusted"]) == set()
}
