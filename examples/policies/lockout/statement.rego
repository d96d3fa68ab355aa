# METADATA
# title: Locked out after denied attempts
package portcullis.statement.lockout

deny contains {
	"rule": "lockout",
	"message": sprintf("you were denied %d times within the hour, and are locked out", [input.budget.hour.denied]),
	"hint": "stop, and talk to security",
} if {
	locked
}

alert contains {
	"rule": "lockout",
	"message": sprintf("`%s` is locked out after %d denied statements", [input.identity.name, input.budget.hour.denied]),
	"hint": "",
} if {
	locked
}

locked if {
	input.statement.class != "transaction"
	input.budget.hour.denied >= data.lockout.most
}
