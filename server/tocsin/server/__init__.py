"""Where the parts meet: settings, roles, the HTTP API, the command line and the migrations."""
