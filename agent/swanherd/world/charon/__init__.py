"""charon by vici: what is loaded and up in it, and the calls that change that.

transport   one connection to the vici socket: frames, one command at a time, events
codec       vici messages to and from plain sections
lanes       for each kind of call a bounded set of connections; deadlines; calls whose outcome is not known yet
messages    what the settings ask for, as load-conn and load-shared want it
reader      charon's lists, over a lane
listing     what charon lists, as the core's types
canonical   one spelling for what list-conns shows and what we will have loaded, so that they compare
selectors   the same for traffic selectors
algorithms  which algorithms of a proposal a charon lacks
abilities   what this charon can do, and what a connection asks for beyond it
mirror      what charon has, as last read
looker      reads into the mirror: by name where something happened, everything slowly
listener    events: where to look, and why a handshake failed
reasons     charon's log lines, as reasons
verifier    compares what was loaded with what charon lists then
watcher     connects; notices when charon is gone, frozen or another one
identity    which charon it is
charon      the facade: all that the rest of the agent sees
"""

from swanherd.world.charon.charon import Charon
from swanherd.world.charon.errors import CharonError, CharonGone, CharonRefused, CharonSilent

__all__ = ["Charon", "CharonError", "CharonGone", "CharonRefused", "CharonSilent"]
