package bench;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.util.Arrays;
import java.util.List;

/**
 * {@code Main CASSANDRA KEYSPACE PORT SEED…} starts a node and obeys lines on standard input, each
 * with one line of answer. It leaves the cluster and ends with its input.
 */
public final class Main {

  private Main() {}

  public static void main(String[] arguments) throws IOException {
    List<Integer> seeds = Arrays.stream(arguments).skip(3).map(Integer::valueOf).toList();
    Entities entities =
        Entities.start(arguments[0], arguments[1], Integer.parseInt(arguments[2]), seeds);
    try (BufferedReader lines = new BufferedReader(new InputStreamReader(System.in))) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        System.out.println(obey(entities, line.split(" ")));
      }
    } finally {
      entities.stop();
    }
  }

  private static String obey(Entities entities, String[] words) {
    return switch (words[0]) {
      case "members" -> entities.awaitMembers(Integer.parseInt(words[1]));
      case "homes" -> entities.homes();
      case "rate" ->
          Rate.measure(entities, Integer.parseInt(words[1]), Integer.parseInt(words[2]));
      case "lost" -> Silence.after(entities, Integer.parseInt(words[1]));
      default -> throw new IllegalArgumentException("unknown word: " + words[0]);
    };
  }
}
