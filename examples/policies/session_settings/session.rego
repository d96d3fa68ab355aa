# METADATA
# title: How long sessions last
# custom:
#   grants: true
package portcullis.session.session_settings

import data.portcullis.lib.me

lifetime_s contains data.session_settings[group].lifetime_s if some group in me.groups

setting contains {"name": name, "value": value} if {
	some group in me.groups
	some name, value in data.session_settings[group].settings
}
