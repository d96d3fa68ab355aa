# METADATA
# title: What comments say about columns
package portcullis.statement.tagged_data

import data.portcullis.lib.me

mask contains object.union({"tag": tag}, rule.mask) if {
	some tag, rule in data.tagged_data
	not cleared(rule)
}

label contains tag if {
	some table in input.statement.tables
	some tag in table.tags_read
	data.tagged_data[tag]
}

deny contains {
	"rule": "tagged_write",
	"message": sprintf("you would write what is tagged @%s in `%s`", [tag, table.key]),
	"hint": sprintf("that is for %s", [concat(" or ", rule.groups)]),
} if {
	some table in input.statement.tables
	some tag in table.tags_written
	rule := object.get(data.tagged_data, tag, {"groups": me.groups})
	not cleared(rule)
}

cleared(rule) if {
	some group in rule.groups
	group in me.groups
}
