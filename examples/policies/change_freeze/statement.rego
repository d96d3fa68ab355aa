# METADATA
# title: No changes on these days
package portcullis.statement.change_freeze

import data.portcullis.lib.me

deny contains {
	"rule": "change_freeze",
	"message": sprintf("nothing is changed until the end of %s: %s", [freeze.last, freeze.why]),
	"hint": sprintf("in an emergency: %s", [concat(" or ", data.change_freeze.exempt)]),
} if {
	input.statement.class in {"write", "ddl", "utility"}
	some freeze in data.change_freeze.freezes
	input.time.date >= freeze.first
	input.time.date <= freeze.last
	not exempt
}

exempt if {
	some group in me.groups
	group in data.change_freeze.exempt
}
