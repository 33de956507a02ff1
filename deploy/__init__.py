"""How Gongji gets onto a machine: set-up, local servers, migrations, topics, monitoring."""
