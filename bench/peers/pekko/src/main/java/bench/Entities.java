package bench;

import com.typesafe.config.Config;
import com.typesafe.config.ConfigFactory;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CompletionStage;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.StreamSupport;
import org.apache.pekko.actor.typed.ActorSystem;
import org.apache.pekko.actor.typed.javadsl.Behaviors;
import org.apache.pekko.cluster.MemberStatus;
import org.apache.pekko.cluster.sharding.typed.javadsl.ClusterSharding;
import org.apache.pekko.cluster.sharding.typed.javadsl.Entity;
import org.apache.pekko.cluster.sharding.typed.javadsl.EntityRef;
import org.apache.pekko.cluster.typed.Cluster;

/** A node of the cluster, and the entities as a caller inside its process sees them. */
final class Entities {

  static final int COUNT = 200;

  /** What one of the platform's updates takes in its journal. */
  private static final int EVENT_BYTES = 350;

  private static final Duration PATIENCE = Duration.ofSeconds(5);
  private static final Duration START_MAX = Duration.ofMinutes(2);

  private final ActorSystem<Void> system;
  private final List<EntityRef<Counter.Message>> refs;
  private final byte[] payload = new byte[EVENT_BYTES];
  private List<Integer> homes = List.of();

  private Entities(ActorSystem<Void> system, int port) {
    this.system = system;
    ClusterSharding sharding = ClusterSharding.get(system);
    sharding.init(Entity.of(Counter.KEY, context -> Counter.create(context.getEntityId(), port)));
    refs =
        IntStream.range(0, COUNT)
            .mapToObj(number -> sharding.entityRefFor(Counter.KEY, "entity-" + number))
            .toList();
  }

  /** Starts a node on a port; the first of the seeds makes the cluster, the others join it. */
  static Entities start(String cassandra, String keyspace, int port, List<Integer> seeds) {
    Config settings =
        ConfigFactory.parseMap(
                Map.of(
                    "pekko.remote.artery.canonical.port",
                    port,
                    "pekko.cluster.seed-nodes",
                    seeds.stream().map(seed -> "pekko://bench@127.0.0.1:" + seed).toList(),
                    "pekko.persistence.cassandra.journal.keyspace",
                    keyspace,
                    "datastax-java-driver.basic.contact-points",
                    List.of(cassandra)))
            .withFallback(ConfigFactory.load());
    return new Entities(ActorSystem.create(Behaviors.empty(), "bench", settings), port);
  }

  /** Asks one entity for one event. */
  CompletionStage<Counter.Added> add(int number, Duration patience) {
    return refs.get(number).ask(replyTo -> new Counter.Add(payload, replyTo), patience);
  }

  /** Waits until the cluster has so many members. */
  String awaitMembers(int count) {
    long deadline = System.nanoTime() + START_MAX.toNanos();
    while (membersUp() < count) {
      pause(deadline);
    }
    return Integer.toString(count);
  }

  /** Wakes every entity; returns how many each node's port holds, as JSON. */
  String homes() {
    homes = IntStream.range(0, COUNT).mapToObj(this::awaitHome).toList();
    return homes.stream()
        .collect(Collectors.groupingBy(port -> port, Collectors.counting()))
        .entrySet()
        .stream()
        .map(home -> "\"%d\": %d".formatted(home.getKey(), home.getValue()))
        .collect(Collectors.joining(", ", "{", "}"));
  }

  /** Returns the entities that a node held when {@link #homes} was called. */
  List<Integer> heldBy(int port) {
    return IntStream.range(0, COUNT).filter(number -> homes.get(number) == port).boxed().toList();
  }

  void stop() {
    system.terminate();
  }

  private long membersUp() {
    return StreamSupport.stream(Cluster.get(system).state().getMembers().spliterator(), false)
        .filter(member -> member.status().equals(MemberStatus.up()))
        .count();
  }

  private int awaitHome(int number) {
    long deadline = System.nanoTime() + START_MAX.toNanos();
    while (true) {
      try {
        return add(number, PATIENCE).toCompletableFuture().join().port();
      } catch (CompletionException error) {
        pause(deadline);
      }
    }
  }

  private static void pause(long deadline) {
    if (System.nanoTime() > deadline) {
      throw new IllegalStateException("the cluster is not ready after " + START_MAX);
    }
    try {
      Thread.sleep(50);
    } catch (InterruptedException error) {
      throw new IllegalStateException(error);
    }
  }
}
