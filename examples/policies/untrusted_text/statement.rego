# METADATA
# title: What was read decides what may be written
package portcullis.statement.untrusted_text

label contains name if {
	some table in input.statement.tables
	some column in table.columns_read
	some name in object.get(object.get(data.untrusted_text, table.key, {}), column, [])
}

escalate contains {
	"rule": "untrusted_text",
	"message": "this session has read text of strangers and personal data",
	"hint": "two people must look at what it writes now",
	"groups": ["approvers"],
	"count": 2,
	"ttl_s": 900,
} if {
	tainted
	input.statement.class == "write"
}

# What strangers may have asked for comes a few rows at a time.
limit contains {"rows": 20} if tainted

tainted if {
	"untrusted" in input.labels.session
	"personal" in input.labels.session
}
