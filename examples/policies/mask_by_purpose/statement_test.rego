package portcullis.mask_by_purpose_test

import data.portcullis.fixtures_test as fixtures
import data.portcullis.statement.mask_by_purpose.mask

masked(purpose) := found if {
	rules := {"public.customers": {"name": {"purposes": ["support"], "mask": {"type": "null"}}}}
	asked := object.union(fixtures.ask("bot", {}), {"session": {"purpose": purpose}})
	found := mask with input as asked with data.mask_by_purpose as rules
}

test_shown_for_its_purpose if masked("support") == set()

test_hidden_for_others if {
	every purpose in ["", "statistics"] {
		masked(purpose) == {{"relation": "public.customers", "column": "name", "type": "null"}}
	}
}
