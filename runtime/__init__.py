"""How a process runs: settings, connections, embedded servers, queues and policies."""
