# METADATA
# title: Columns are for purposes
package portcullis.statement.purpose_limitation

deny contains {
	"rule": "purpose",
	"message": sprintf("`%s` of `%s` is not for %s", [column, table.key, stated]),
	"hint": sprintf("connect with portcullis.purpose set to: %s", [concat(" or ", purposes)]),
} if {
	some table in input.statement.tables
	some column in table.columns_read
	purposes := object.get(object.get(data.purpose_limitation, table.key, {}), column, [input.session.purpose])
	not input.session.purpose in purposes
}

stated := sprintf("the purpose `%s`", [input.session.purpose]) if input.session.purpose != ""

stated := "a session that does not say what it is for" if input.session.purpose == ""
