# METADATA
# title: What an identity gets in a day
package portcullis.statement.daily_budget

deny contains {
	"rule": "daily_budget",
	"message": sprintf("you have had %d of %d %s today", [had, most, what]),
	"hint": "it begins anew at midnight, UTC",
} if {
	input.statement.class != "transaction"
	some what, most in budget
	had := input.budget.day[what]
	had >= most
}

limit contains {"rows": budget.rows - input.budget.day.rows} if {
	input.budget.day.rows <= budget.rows
}

limit contains {"bytes": budget.bytes - input.budget.day.bytes} if {
	input.budget.day.bytes <= budget.bytes
}

budget := data.daily_budget[input.identity.kind]
