# METADATA
# title: Who may decide on a request
# description: |
#   People in one of the groups that the request names. The gateway itself holds that nobody decides on a
#   request of their own or twice, that nothing but a person decides, and that a yes fills a seat that is open,
#   whatever is written here. `missing contains {"rule", "message", "hint"}` keeps a request open whose seats are
#   all filled (docs/approvals.md).
package portcullis.approval

eligible if in_groups

deny contains {
	"rule": "approver_group",
	"message": "you are in none of the groups that may decide on this request",
	"hint": sprintf("ask a member of %s", [concat(" or ", input.groups)]),
} if {
	not in_groups
}

# An agent acts for its owner, so its owner's yes would be a yes to oneself. The owner may always say no.
# `owner_may_approve` in data/rulebook.json switches this rule off, and `exclude_owner` of the shipped writes.
deny contains {
	"rule": "owner_approves",
	"message": sprintf("you own `%s`, so you can't approve for it", [input.requester.name]),
	"hint": "ask another approver; the switch is `owner_may_approve` in data/rulebook.json",
} if {
	input.vote == "approve"
	input.requester.owner == input.approver.name
	not data.rulebook.owner_may_approve
}

# What the approver's file says now counts, not what it said at login.
in_groups if {
	some group in data.agents[input.approver.name].groups
	group in input.groups
}
