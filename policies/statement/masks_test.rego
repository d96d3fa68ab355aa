package portcullis.masks_test

import data.portcullis.fixtures_test as fixtures
import data.portcullis.fixtures_test.agents
import data.portcullis.statement.limit
import data.portcullis.statement.mask

masks(who) := found if {
	found := mask with input as fixtures.ask(who, {}) with data.agents as agents
}

labels := {"shop": {"public.customers": {"email": "email", "shoe_size": "secret"}}}

test_labels_are_masked if {
	found := mask with input as fixtures.ask("ana", {})
		with data.agents as agents
		with data.labels as labels
	found == {
		{"relation": "public.customers", "column": "email", "type": "redact", "value": "hidden@masked.invalid"},
		{"relation": "public.customers", "column": "shoe_size", "type": "null"},
	}
}

test_agents_and_people_see_the_same_masks if masks("bot") == masks("ana")

test_a_group_sees_clear if masks("dora") == set()

test_a_stranger_sees_masks if masks("nobody") == masks("ana")

test_ceilings if {
	found := limit with input as fixtures.ask("bot", {}) with data.agents as agents
	found == {{"rows": 1000}}
}
