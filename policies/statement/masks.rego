# METADATA
# title: Masks and ceilings
# description: |
#   Columns are labelled one by one in data/labels.json, and by what they are in data/label_rules.json: by patterns of
#   names, by type, by a word in their comment, by SECURITY LABEL. data/masks.json says what stands in place of a
#   label. A label without a mask is NULL: nobody must wait for a second file to be safe.
package portcullis.statement

import data.portcullis.lib.me
import data.portcullis.lib.sees_clear

mask contains object.union(
	{"relation": relation, "column": column},
	object.get(data.masks, secret, {"type": "null"}),
) if {
	not sees_clear
	some relation, columns in object.get(data.labels, input.database, {})
	some column, secret in columns
}

mask contains object.union(
	object.remove(rule, ["label"]),
	object.get(data.masks, rule.label, {"type": "null"}),
) if {
	not sees_clear
	some rule in object.get(data.label_rules, input.database, [])
}

limit contains {"rows": object.get(data.rulebook.rows, me.kind, 0)}
