-- Where a provider knows templates by an id of its own for each language (Twilio's ContentSid), here it stands; what has none there
-- cannot go out.
alter table template_states add column content_sid text;
