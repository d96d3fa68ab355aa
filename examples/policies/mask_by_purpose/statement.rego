# METADATA
# title: Masks by purpose
package portcullis.statement.mask_by_purpose

mask contains object.union({"relation": relation, "column": column}, rule.mask) if {
	some relation, columns in data.mask_by_purpose
	some column, rule in columns
	not input.session.purpose in rule.purposes
}
