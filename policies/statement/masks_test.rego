package portcullis.masks_test

import data.portcullis.fixtures_test as fixtures
import data.portcullis.fixtures_test.agents
import data.portcullis.statement.limit
import data.portcullis.statement.mask

masks(who) := found if {
	found := mask with input as fixtures.ask(who, {}) with data.agents as agents
}

strategies := {"email": {"type": "redact", "value": "hidden@masked.invalid"}}

labels := {"shop": {"public.customers": {"email": "email", "shoe_size": "secret"}}}

test_labels_are_masked if {
	found := mask with input as fixtures.ask("ana", {})
		with data.agents as agents
		with data.labels as labels
		with data.label_rules as {}
		with data.masks as strategies
	found == {
		{"relation": "public.customers", "column": "email", "type": "redact", "value": "hidden@masked.invalid"},
		{"relation": "public.customers", "column": "shoe_size", "type": "null"},
	}
}

rules := {"shop": [
	{"label": "email", "column": "*email*"},
	{"label": "pii", "relation": "hr.*", "tag": "pii"},
]}

test_columns_are_masked_by_what_they_are if {
	found := mask with input as fixtures.ask("ana", {})
		with data.agents as agents
		with data.labels as {}
		with data.label_rules as rules
		with data.masks as strategies
	found == {
		{"column": "*email*", "type": "redact", "value": "hidden@masked.invalid"},
		{"relation": "hr.*", "tag": "pii", "type": "null"},
	}
}

test_a_group_sees_clear_what_is_labelled_by_rule if {
	found := mask with input as fixtures.ask("dora", {})
		with data.agents as agents
		with data.label_rules as rules
	found == set()
}

test_a_mask_may_release_aggregates if {
	release := {"aggregates": ["avg", "count"], "min_rows": 5}
	found := mask with input as fixtures.ask("ana", {})
		with data.agents as agents
		with data.labels as {"shop": {"hr.payroll": {"salary": "salary"}}}
		with data.label_rules as {"shop": [{"label": "salary", "column": "*wage*"}]}
		with data.masks as {"salary": {"type": "null", "release": release}}
	found == {
		{"relation": "hr.payroll", "column": "salary", "type": "null", "release": release},
		{"column": "*wage*", "type": "null", "release": release},
	}
}

test_agents_and_people_see_the_same_masks if masks("bot") == masks("ana")

test_a_group_sees_clear if masks("dora") == set()

test_a_stranger_sees_masks if masks("nobody") == masks("ana")

test_ceilings if {
	found := limit with input as fixtures.ask("bot", {})
		with data.agents as agents
		with data.rulebook.rows as {"agent": 7, "human": 8}
	found == {{"rows": 7}}
}
