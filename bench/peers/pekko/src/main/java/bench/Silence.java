package bench;

import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.stream.Collectors;

/** How long the entities of a node that died do not answer. */
final class Silence {

  /** Between the questions to one entity; what it adds is a hundredth of the time measured. */
  private static final Duration PATIENCE = Duration.ofMillis(500);

  private static final Duration SILENCE_MAX = Duration.ofMinutes(3);

  private Silence() {}

  /**
   * Asks the entities that a node held, all at once, again and again until each has answered.
   *
   * @return after how many milliseconds each did, from now on, as JSON
   */
  static String after(Entities entities, int port) {
    long began = System.nanoTime();
    List<Integer> lost = entities.heldBy(port);
    ExecutorService threads = Executors.newFixedThreadPool(Math.max(lost.size(), 1));
    try {
      return lost.stream()
          .map(number -> threads.submit(() -> silenceMs(entities, number, began)))
          .toList()
          .stream()
          .map(
              silence -> {
                try {
                  return silence.get().toString();
                } catch (Exception error) {
                  throw new IllegalStateException(error);
                }
              })
          .collect(Collectors.joining(", ", "[", "]"));
    } finally {
      threads.shutdown();
    }
  }

  private static long silenceMs(Entities entities, int number, long began) {
    while (System.nanoTime() - began < SILENCE_MAX.toNanos()) {
      try {
        entities.add(number, PATIENCE).toCompletableFuture().join();
        return (System.nanoTime() - began) / 1_000_000;
      } catch (CompletionException error) {
        // Nobody answered in time: ask again.
      }
    }
    throw new IllegalStateException("entity " + number + " did not come back");
  }
}
