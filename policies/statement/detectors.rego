# METADATA
# title: Value detectors
# description: |
#   What is overwritten wherever it stands in a value: in a note, in a document, in a column that nobody has labelled.
#   Which detectors look through whose results is in data/detectors.json, by what sort of principal they are. They are a
#   net below the masks: whoever can compute can make a value look otherwise, so label what must not be seen.
package portcullis.statement

import data.portcullis.lib.sees_clear

detect contains wanted if {
	not sees_clear
	some wanted in object.get(data.detectors, input.identity.kind, [])
}
