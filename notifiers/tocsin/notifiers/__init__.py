"""Telling people: notifiers, incidents, and the outbox that forgets nobody."""
