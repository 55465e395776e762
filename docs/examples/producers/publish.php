<?php
// Publishes an event to RabbitMQ and ends well only when the broker has it: php publish.php event.json
// Needs php-amqplib 3 (composer require php-amqplib/php-amqplib; on Debian: apt-get install php-cli php-amqplib).
// AMQP_HOST, AMQP_PORT, AMQP_USER, AMQP_PASSWORD and AMQP_VHOST say where the broker is, RECADO_EXCHANGE where to publish if not to
// shop.events.
declare(strict_types=1);

foreach ([__DIR__ . '/vendor/autoload.php', '/usr/share/php/PhpAmqpLib/autoload.php'] as $autoload) {
    if (is_file($autoload)) {
        require_once $autoload;
        break;
    }
}

use PhpAmqpLib\Channel\AMQPChannel;
use PhpAmqpLib\Connection\AMQPStreamConnection;
use PhpAmqpLib\Message\AMQPMessage;

/** Throws unless the broker has it. Then publish it again, as often as needed: its id makes it count once. */
function publish(AMQPChannel $channel, string $exchange, array $event): void
{
    $failure = null;
    $channel->set_nack_handler(function () use (&$failure): void {
        $failure = 'the broker refused it';
    });
    // The broker gives back what no queue wants: a type that Recado's catalogue does not have, or a typing error.
    $channel->set_return_listener(function () use (&$failure, $event): void {
        $failure = "no queue wants {$event['type']}: is it a type of the catalogue, and has Recado run once?";
    });
    $message = new AMQPMessage(json_encode($event, JSON_THROW_ON_ERROR), [
        'delivery_mode' => AMQPMessage::DELIVERY_MODE_PERSISTENT,
        'content_type' => 'application/cloudevents+json',
        'message_id' => $event['id'],
    ]);
    $channel->basic_publish($message, $exchange, $event['type'], true);
    $channel->wait_for_pending_acks_returns(10);
    if ($failure !== null) {
        throw new RuntimeException($failure);
    }
}

try {
    $event = json_decode(file_get_contents($argv[1]), true, 64, JSON_THROW_ON_ERROR);
    $of = fn (string $name, string $default): string => getenv($name) ?: $default;
    $connection = new AMQPStreamConnection(
        $of('AMQP_HOST', 'localhost'),
        (int) $of('AMQP_PORT', '5672'),
        $of('AMQP_USER', 'guest'),
        $of('AMQP_PASSWORD', 'guest'),
        $of('AMQP_VHOST', '/')
    );
    $channel = $connection->channel();
    $channel->confirm_select();
    publish($channel, $of('RECADO_EXCHANGE', 'shop.events'), $event);
    $connection->close();
    echo "published {$event['type']} {$event['id']}\n";
} catch (Throwable $error) {
    fwrite(STDERR, "not published: {$error->getMessage()}\n");
    exit(1);
}
