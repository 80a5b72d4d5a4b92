package bench;

import org.apache.pekko.actor.typed.ActorRef;
import org.apache.pekko.actor.typed.Behavior;
import org.apache.pekko.cluster.sharding.typed.javadsl.EntityTypeKey;
import org.apache.pekko.persistence.typed.PersistenceId;
import org.apache.pekko.persistence.typed.javadsl.CommandHandler;
import org.apache.pekko.persistence.typed.javadsl.EventHandler;
import org.apache.pekko.persistence.typed.javadsl.EventSourcedBehavior;

/**
 * The least that a persistent entity can do: every command is one event, and is answered when the
 * event is durable. Events are bytes, which Pekko stores as they are. No snapshots, no tags.
 */
final class Counter extends EventSourcedBehavior<Counter.Message, byte[], Long> {

  /** What may travel between nodes. */
  interface Message {}

  /** The command; {@code payload} becomes the event. */
  record Add(byte[] payload, ActorRef<Added> replyTo) implements Message {}

  /** The answer: how many events the entity has, and the port of the node that holds it. */
  record Added(long events, int port) implements Message {}

  static final EntityTypeKey<Message> KEY = EntityTypeKey.create(Message.class, "Counter");

  private final int port;

  private Counter(String id, int port) {
    super(PersistenceId.of(KEY.name(), id));
    this.port = port;
  }

  static Behavior<Message> create(String id, int port) {
    return new Counter(id, port);
  }

  @Override
  public Long emptyState() {
    return 0L;
  }

  @Override
  public CommandHandler<Message, byte[], Long> commandHandler() {
    return newCommandHandlerBuilder()
        .forAnyState()
        .onCommand(
            Add.class,
            add ->
                Effect()
                    .persist(add.payload())
                    .thenReply(add.replyTo(), events -> new Added(events, port)))
        .build();
  }

  @Override
  public EventHandler<Long, byte[]> eventHandler() {
    return newEventHandlerBuilder().forAnyState().onAnyEvent((events, event) -> events + 1);
  }
}
