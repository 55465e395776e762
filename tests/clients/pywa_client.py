"""pywa, a client for Meta's API, against the simulator: sends, lists, verifies signatures, reads webhooks."""

import sys

from ear import Ear, Findings, Simulator
from pywa import WhatsApp, errors, utils
from pywa.types import CallbackButton, Message, MessageStatus
from pywa.types.templates import BodyText, QuickReplyButton, TemplateLanguage

BASE = sys.argv[1]
NUMBER, ACCOUNT, TOKEN, SECRET = "200000000000002", "100000000000001", "sim-token", "sim-app-secret"
ANA = "+34600111555"


def main():
    found, ear, sim = Findings("pywa"), Ear(), Simulator(BASE)
    sim.post(
        "templates",
        {
            "name": "pedido",
            "language": "es",
            "category": "UTILITY",
            "components": [
                {
                    "type": "BODY",
                    "text": "Hola {{1}}, tu pedido {{2}} ha salido.",
                    "example": {"body_text": [["Ana", "A-1"]]},
                },
                {"type": "BUTTONS", "buttons": [{"type": "QUICK_REPLY", "text": "Baja"}]},
            ],
        },
    )
    sim.post("webhooks", {"url": f"{ear.url}/webhook"})
    client = WhatsApp(
        phone_id=NUMBER, token=TOKEN, waba_id=ACCOUNT, app_secret=SECRET, server=None, verify_token="v", filter_updates=False
    )
    session = client.api._session
    session.base_url = str(session.base_url).replace("https://graph.facebook.com", BASE)

    heard = []
    client.on_message()(lambda _, update: heard.append(update))
    client.on_message_status()(lambda _, update: heard.append(update))
    client.on_callback_button()(lambda _, update: heard.append(update))

    def updates(count):
        """The next updates, as pywa reads them; each webhook's signature is looked at."""
        heard.clear()
        while len(heard) < count:
            _, headers, body = ear.next()
            lower = {name.lower(): value for name, value in headers.items()}
            signature = lower["x-hub-signature-256"]
            found.holds("the signature of a webhook is good", utils.webhook_updates_validator(SECRET, body, signature))
            found.holds("a changed body is noticed", not utils.webhook_updates_validator(SECRET, body + b" ", signature))
            client.webhook_update_handler(body)
        return list(heard)

    sent = client.send_template(
        to=ANA,
        name="pedido",
        language=TemplateLanguage.SPANISH,
        params=[BodyText.params("Ana", "A-1"), QuickReplyButton.params(callback_data="optout:orders", index=0)],
        tracker="attempt-1",
    )
    found.holds("a template is sent", sent.id.startswith("wamid."), sent)
    statuses = updates(3)
    names = sorted(str(one.status.value) for one in statuses if isinstance(one, MessageStatus))
    found.holds("statuses are read", names == ["delivered", "read", "sent"], statuses)
    found.holds("each has the tag", all(one.tracker == "attempt-1" and one.id == sent.id for one in statuses), statuses)

    sim.post(f"people/{ANA}/reply", {"text": "¿Cuándo llega?"})
    (message,) = updates(1)
    found.holds("a text is read", isinstance(message, Message) and message.text == "¿Cuándo llega?", message)
    sim.post(f"people/{ANA}/press", {"wamid": sent.id})
    (pressed,) = updates(1)
    found.holds("a button is read", isinstance(pressed, CallbackButton) and pressed.data == "optout:orders", pressed)
    answer = client.send_message(to=ANA, text="Mañana.")
    found.holds("free text goes inside the window", answer.id.startswith("wamid."), answer)
    updates(3)

    listed = [one.name for one in client.get_templates(name="pedido")]
    found.holds("templates are listed", listed == ["pedido"], listed)
    try:
        client.send_template(to=ANA, name="nada", language=TemplateLanguage.SPANISH, params=[])
        code = None
    except errors.WhatsAppError as error:
        code = error.code
    found.holds("a template that is not there is 132001", code == 132001, code)
    try:
        client.send_message(to="+34600111666", text="hola")
        code = None
    except errors.WhatsAppError as error:
        code = error.code
    found.holds("free text outside the window is 131047", code == 131047, code)
    found.end()


main()
