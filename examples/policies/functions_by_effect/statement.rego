# METADATA
# title: Dangerous functions by what they do
package portcullis.statement.functions_by_effect

deny contains {
	"rule": "function_effect",
	"message": sprintf("`%s` runs with its owner's rights", [function.key]),
	"hint": "",
} if {
	some function in own
	function.security_definer
}

deny contains {
	"rule": "function_effect",
	"message": sprintf("`%s` is %s: it may change something", [function.key, function.volatility]),
	"hint": "whoever owns it can declare it STABLE, if that is true",
} if {
	some function in own
	not function.volatility in data.functions_by_effect.volatilities
}

deny contains {
	"rule": "function_effect",
	"message": sprintf("`%s` is written in %s", [function.key, language]),
	"hint": sprintf("functions may be in: %s", [concat(", ", data.functions_by_effect.languages)]),
} if {
	some function in own
	some language in function.languages
	not language in data.functions_by_effect.languages
}

own := [function |
	some function in input.statement.functions
	not function.builtin
]
