# METADATA
# title: Which applications are used
package portcullis.session.applications

deny contains {
	"rule": "application",
	"message": sprintf("the application `%s` is not one of those that %ss use here", [input.session.application, input.identity.kind]),
	"hint": sprintf("use: %s", [concat(", ", patterns)]),
} if {
	patterns := object.get(data.applications, input.identity.kind, ["*"])
	every pattern in patterns {
		not glob.match(pattern, null, input.session.application)
	}
}
