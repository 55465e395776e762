-- What somebody said at a moment is found without reading all that they ever said.

create index consent_entries_by_time on consent_entries (contact_id, at);
