# METADATA
# title: When definitions are changed
package portcullis.statement.ddl_windows

deny contains {
	"rule": "ddl_window",
	"message": sprintf("it is past %d:00 in New York, and definitions are not changed now", [clock.hour]),
	"hint": "wait for Tuesday or Thursday, 22:00, or connect with portcullis.purpose=incident/NUMBER",
} if {
	input.statement.class == "ddl"
	not window
	not incident
}

alert contains {
	"rule": "ddl_window",
	"message": sprintf("`%s` changes definitions out of hours, for %s", [input.identity.name, input.session.purpose]),
	"hint": "",
} if {
	input.statement.class == "ddl"
	not window
	incident
}

window if {
	clock.weekday in data.ddl_windows.weekdays
	clock.hour in data.ddl_windows.hours
}

incident if regex.match("^incident/[0-9]+$", input.session.purpose)

clock := input.time.zones["America/New_York"]
