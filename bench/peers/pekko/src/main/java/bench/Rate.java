package bench;

import java.time.Duration;
import java.util.Arrays;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;

/** So many callers, each with one command under way, over all entities in turn. */
final class Rate {

  private static final Duration PATIENCE = Duration.ofSeconds(30);

  private final Entities entities;
  private final long[] latencies;
  private final AtomicInteger asked = new AtomicInteger();

  private Rate(Entities entities, int commands) {
    this.entities = entities;
    latencies = new long[commands];
  }

  /** Returns commands, seconds and latencies, as JSON. */
  static String measure(Entities entities, int inFlight, int commands) {
    long began = System.nanoTime();
    Rate rate = new Rate(entities, commands);
    CompletableFuture.allOf(
            IntStream.range(0, inFlight)
                .mapToObj(caller -> rate.caller())
                .toArray(CompletableFuture[]::new))
        .join();
    return rate.told((System.nanoTime() - began) / 1e9);
  }

  private CompletableFuture<Void> caller() {
    CompletableFuture<Void> done = new CompletableFuture<>();
    call(done);
    return done;
  }

  private void call(CompletableFuture<Void> done) {
    long began = System.nanoTime();
    int number = asked.getAndIncrement();
    if (number >= latencies.length) {
      done.complete(null);
      return;
    }
    entities
        .add(number % Entities.COUNT, PATIENCE)
        .whenComplete(
            (added, error) -> {
              if (error != null) {
                done.completeExceptionally(error);
                return;
              }
              latencies[number] = System.nanoTime() - began;
              call(done);
            });
  }

  private String told(double seconds) {
    int count = latencies.length;
    Arrays.sort(latencies);
    return "{\"seconds\": %.4f, \"p50_ms\": %.2f, \"p99_ms\": %.2f}"
        .formatted(seconds, latencies[count / 2] / 1e6, latencies[count * 99 / 100] / 1e6);
  }
}
