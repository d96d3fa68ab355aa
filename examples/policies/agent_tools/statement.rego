# METADATA
# title: Which tools a group has
package portcullis.statement.agent_tools

import data.portcullis.lib.me

deny contains {
	"rule": "agent_tools",
	"message": sprintf("the group `%s` does not use %s", [group, by]),
	"hint": sprintf("use: %s", [concat(", ", tools)]),
} if {
	some group in me.groups
	tools := object.get(data.agent_tools, group, [input.tool])
	not input.tool in tools
}

by := sprintf("the tool `%s`", [input.tool]) if input.tool != ""

by := "the wire door" if input.tool == ""
