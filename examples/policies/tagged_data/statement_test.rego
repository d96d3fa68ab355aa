package portcullis.tagged_data_test

import data.portcullis.fixtures_test as fixtures
import data.portcullis.fixtures_test.agents as identities
import data.portcullis.statement.tagged_data.deny
import data.portcullis.statement.tagged_data.label
import data.portcullis.statement.tagged_data.mask

tags := {"pii": {"groups": ["pii_readers"], "mask": {"type": "null"}}}

test_masks_by_tag if {
	mask == {{"tag": "pii", "type": "null"}} with input as fixtures.ask("bot", {})
		with data.agents as identities
		with data.tagged_data as tags
	mask == set() with input as fixtures.ask("dora", {})
		with data.agents as identities
		with data.tagged_data as tags
}

test_labels_of_what_is_read if {
	touched := fixtures.table("public", "customers", "read", {"tags_read": ["pii", "free"], "tags_written": []})
	label == {"pii"} with input as fixtures.ask("bot", {"tables": [touched]})
		with data.tagged_data as tags
}

writes(who, tag) := found if {
	touched := fixtures.table("public", "customers", "update", {"tags_read": [], "tags_written": [tag]})
	found := {reason.rule | some reason in deny} with input as fixtures.ask(who, {"tables": [touched]})
		with data.agents as identities
		with data.tagged_data as tags
}

test_writes_are_for_the_tags_groups if {
	writes("bot", "pii") == {"tagged_write"}
	writes("dora", "pii") == set()
	writes("bot", "free") == set()
}
