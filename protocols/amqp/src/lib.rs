//! AMQP 0-9-1 for Ropewalk, as RabbitMQ speaks it.
