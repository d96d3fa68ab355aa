# METADATA
# title: Only in business hours
package portcullis.statement.business_hours

import data.portcullis.lib.me

deny contains {
	"rule": "business_hours",
	"message": sprintf("it is past %d:00 in Berlin, and your access is for Monday to Friday, 8:00 to 18:00", [clock.hour]),
	"hint": "come back then, or ask the person on call",
} if {
	some group in me.groups
	group in data.business_hours.groups
	input.statement.class != "transaction"
	not open
}

open if {
	clock.weekday <= 5
	clock.hour >= 8
	clock.hour < 18
}

clock := input.time.zones["Europe/Berlin"]
