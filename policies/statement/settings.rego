# METADATA
# title: Settings
# description: |
#   What a session may change about itself is listed in data/settings.json. All else is denied: a setting could
#   lift a limit, switch the role, or make text mean something other than what was judged. It is the same whether
#   SET or set_config() changes it. SHOW is free, and so is RESET: all that must hold (search path, encoding, row
#   security, the limits of files) is part of the gateway's own start-up packet, which is what RESET goes back to.
package portcullis.statement

import data.portcullis.lib.me

deny contains {
	"rule": "setting",
	"message": sprintf("the setting `%s` is not yours to change", [setting.name]),
	"hint": sprintf("you may change: %s", [concat(", ", sort(data.settings.free))]),
} if {
	some setting in changed_settings
	not setting.name in data.settings.free
	not data.settings.fixed[setting.name]
}

# A change to the value that is in force anyway does no harm, and drivers send it.
deny contains {
	"rule": "setting",
	"message": sprintf("the setting `%s` must stay `%s`", [setting.name, concat("` or `", data.settings.fixed[setting.name])]),
	"hint": "",
} if {
	some setting in changed_settings
	data.settings.fixed[setting.name]
	not stays(setting)
}

deny contains {
	"rule": "setting",
	"message": "your file limits the time of statements, so `statement_timeout` is not yours to change",
	"hint": "",
} if {
	some setting in changed_settings
	setting.name == "statement_timeout"
	me.limits.statement_timeout_ms > 0
}

changed_settings := [setting |
	some setting in input.statement.settings
	not setting.action in {"show", "reset"}
]

stays(setting) if {
	count(setting.values) == 1
	lower(setting.values[0]) in data.settings.fixed[setting.name]
}
