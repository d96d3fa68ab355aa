//! Door 2: MCP tools for agents, over Streamable HTTP and (by a relay) stdio.
