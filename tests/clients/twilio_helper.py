"""Twilio's official Python helper against the simulator: sends, lists, follows pages, keeps content, verifies signatures."""

import datetime
import json
import sys
import time

from ear import Ear, Findings, Simulator
from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.request_validator import RequestValidator
from twilio.rest import Client
from twilio.rest.content.v1.content import ContentList
from twilio.rest.content.v1.content.approval_create import ApprovalCreateList

BASE = sys.argv[1]
ACCOUNT, TOKEN = "AC0123456789abcdef0123456789abcdef", "sim-auth-token"
KEY, SECRET = "SK0123456789abcdef0123456789abcdef", "sim-key-secret"
SERVICE = "MG0123456789abcdef0123456789abcdef"
SMS, WHATSAPP = "+34600000001", "whatsapp:+34600000001"
ANA, ANA_THERE = "+34600111333", "whatsapp:+34600111333"


class There(TwilioHttpClient):
    """Sends to the simulator what is meant for Twilio."""

    def request(self, method, url, *rest, **more):
        for host in ("https://api.twilio.com", "https://content.twilio.com"):
            url = url.replace(host, BASE)
        return super().request(method, url, *rest, **more)


def refused(call):
    try:
        call()
    except TwilioRestException as error:
        return error.status, error.code
    return None


def main():
    found, ear, sim = Findings("twilio-python"), Ear(), Simulator(BASE)
    client = Client(ACCOUNT, TOKEN, http_client=There())
    by_key = Client(KEY, SECRET, ACCOUNT, http_client=There())
    stranger = Client(ACCOUNT, "wrong", http_client=There())
    validator = RequestValidator(TOKEN)

    draft = ContentList.ContentCreateRequest(
        {
            "friendly_name": "pedido",
            "language": "es",
            "variables": {"1": "Ana", "2": "A-1"},
            "types": {
                "twilio/quick-reply": {
                    "body": "Hola {{1}}, tu pedido {{2}} ha salido.",
                    "actions": [{"type": "QUICK_REPLY", "title": "Baja", "id": "optout:orders"}],
                }
            },
        }
    )
    content = client.content.v1.contents.create(content_create_request=draft)
    found.holds("content is created", content.sid.startswith("HX"), content.sid)
    place = client.content.v1.contents(content.sid)
    found.holds("content is fetched", place.fetch().language == "es")
    asked = ApprovalCreateList.ContentApprovalRequest({"name": "pedido_py", "category": "UTILITY"})
    review = place.approval_create.create(content_approval_request=asked)
    found.holds("approval is asked for", review.status == "received", review.status)
    found.holds("approval is fetched", place.approval_fetch().fetch().whatsapp["status"] == "received")
    sim.post("contents/stage", {"sid": content.sid, "stage": "approved"})
    reviewed = {one.sid: one.approval_requests for one in client.content.v1.content_and_approvals.list(page_size=1)}
    found.holds("contents and approvals are listed over pages", reviewed[content.sid]["status"] == "approved", reviewed)

    callback = f"{ear.url}/status?attempt=a%2F1&x=%C3%B1"
    message = by_key.messages.create(
        to=ANA_THERE,
        from_=WHATSAPP,
        content_sid=content.sid,
        content_variables=json.dumps({"1": "Zoë", "2": "B&7 +1"}),
        status_callback=callback + "#rc=2",
        validity_period=600,
    )
    text = "Hola Zoë, tu pedido B&7 +1 ha salido."
    found.holds("an API key sends content", (message.status, message.body) == ("queued", text), message.body)
    found.holds("times are read as times", message.date_created.tzinfo is not None and message.date_sent is None)
    statuses = []
    for _ in range(3):
        url, signature, fields = ear.form()
        statuses.append(fields["MessageStatus"])
        found.holds(f"the signature of {statuses[-1]} is good", validator.validate(callback, fields, signature))
        found.holds(f"{statuses[-1]} comes to the exact address", url == callback, url)
        found.holds("a changed form is noticed", not validator.validate(callback, {**fields, "To": SMS}, signature))
        found.holds("another address is noticed", not validator.validate(callback + "1", fields, signature))
    found.holds("statuses come", sorted(statuses) == ["delivered", "read", "sent"], statuses)

    listed = client.messages.list(to=ANA_THERE, from_=WHATSAPP, date_sent_after=datetime.datetime.now(datetime.UTC).date())
    found.holds("the list has the rendered body", [one.body for one in listed] == [text], listed)
    fetched = client.messages(message.sid).fetch()
    found.holds("a message is fetched", (fetched.status, fetched.error_code) == ("read", None), fetched.status)
    found.holds("its price is null at first", fetched.price is None and fetched.price_unit == "USD", fetched.price)
    by = time.monotonic() + 20
    while fetched.price is None and time.monotonic() < by:
        time.sleep(0.2)
        fetched = client.messages(message.sid).fetch()
    found.holds("and there some time after it was sent", fetched.price == "-0.00500", fetched.price)
    for number in range(5):
        client.messages.create(to=ANA, from_=SMS, body=f"texto {number}")
    texts = [one.body for one in client.messages.list(to=ANA, page_size=2)]
    found.holds("pages are followed", texts == [f"texto {n}" for n in reversed(range(5))], texts)
    by_service = client.messages.create(to=ANA_THERE, messaging_service_sid=SERVICE, content_sid=content.sid)
    found.holds("a service accepts", (by_service.status, by_service.from_) == ("accepted", None), by_service.status)

    bad = "HX" + "f" * 32
    for what, call, expected in [
        ("no token", lambda: stranger.messages.create(to=ANA, from_=SMS, body="x"), (401, 20003)),
        ("no body", lambda: client.messages.create(to=ANA, from_=SMS), (400, 21619)),
        ("no number", lambda: client.messages.create(to="ana", from_=SMS, body="x"), (400, 21211)),
        ("no such content", lambda: client.messages.create(to=ANA_THERE, from_=WHATSAPP, content_sid=bad), (400, 21655)),
        ("no such message", lambda: client.messages("SM" + "0" * 32).fetch(), (404, 20404)),
    ]:
        found.holds(f"{what} is {expected[1]}", refused(call) == expected, refused(call))

    inbound = f"{ear.url}/inbound"
    sim.post("numbers/" + WHATSAPP.replace("+", "%2B"), {"inbound_url": inbound})
    sim.post(f"people/{ANA}/reply", {"text": "¿Cuándo llega? ñ&=+", "sender": WHATSAPP})
    _, signature, fields = ear.form()
    found.holds("the signature of an inbound text is good", validator.validate(inbound, fields, signature))
    found.holds("it says who wrote", (fields["WaId"], fields["From"]) == (ANA[1:], ANA_THERE), fields)
    sim.post(f"people/{ANA}/press", {"wamid": message.sid})
    _, signature, fields = ear.form()
    found.holds("the signature of a pressed button is good", validator.validate(inbound, fields, signature))
    found.holds("it has the button's payload", fields["ButtonPayload"] == "optout:orders", fields)
    answer = client.messages.create(to=ANA_THERE, from_=WHATSAPP, body="Mañana.", status_callback=callback)
    found.holds("free text goes inside the window", answer.status == "queued")
    told = [ear.form()[2]["MessageStatus"] for _ in range(3)]
    found.holds("and arrives", sorted(told) == ["delivered", "read", "sent"], told)

    sim.post(f"people/{ANA}/reply", {"text": "STOP", "sender": SMS})
    found.holds("after STOP by SMS it is 21610", refused(lambda: client.messages.create(to=ANA, from_=SMS, body="x")) == (400, 21610))
    sim.post(f"people/{ANA}/reply", {"text": "START", "sender": SMS})
    found.holds("after START no more", refused(lambda: client.messages.create(to=ANA, from_=SMS, body="x")) is None)
    found.holds("content is deleted", place.delete())
    found.end()


main()
