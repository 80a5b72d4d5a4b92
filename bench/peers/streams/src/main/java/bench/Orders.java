package bench;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;

/** Keeps every second order and computes a field: BROKERS SOURCE TARGET RECORDS THREADS. */
public final class Orders {
    private static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] asked) throws Exception {
        var records = Long.parseLong(asked[3]);
        var seen = new AtomicLong();
        var done = new CountDownLatch(1);
        var builder = new StreamsBuilder();
        var bytes = Serdes.ByteArray();
        builder.stream(asked[1], Consumed.with(bytes, bytes))
            .mapValues(Orders::parsed)
            .peek((key, order) -> {
                if (seen.incrementAndGet() == records) {
                    done.countDown();
                }
            })
            .filter((key, order) -> order.get("id").asLong() % 2 == 0)
            .mapValues(Orders::withTotal)
            .to(asked[2], Produced.with(bytes, bytes));
        var streams = new KafkaStreams(builder.build(), settings(asked));
        var began = System.nanoTime();
        var usedBefore = cpuSeconds();
        streams.start();
        done.await();
        streams.close(); // commits what was read
        var seconds = (System.nanoTime() - began) / 1e9;
        System.out.printf(
            "{\"seconds\": %f, \"cpu_s\": %f, \"peak_rss_mib\": %f}%n",
            seconds, cpuSeconds() - usedBefore, peakMiB());
    }

    private static Properties settings(String[] asked) {
        var settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, "streams-" + asked[2]);
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, asked[0]);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 1000);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, Integer.parseInt(asked[4]));
        settings.put(StreamsConfig.STATE_DIR_CONFIG, System.getProperty("java.io.tmpdir"));
        settings.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        settings.put(StreamsConfig.consumerPrefix("max.poll.records"), 10_000);
        settings.put(StreamsConfig.producerPrefix("compression.type"), "lz4");
        settings.put(StreamsConfig.producerPrefix("linger.ms"), 20);
        settings.put(StreamsConfig.producerPrefix("batch.size"), 1_000_000);
        return settings;
    }

    private static ObjectNode parsed(byte[] value) {
        try {
            return (ObjectNode) JSON.readTree(value);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    private static byte[] withTotal(ObjectNode order) {
        order.put("total", order.get("price").asDouble() * order.get("quantity").asLong());
        try {
            return JSON.writeValueAsBytes(order);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    private static double cpuSeconds() {
        var system = (com.sun.management.OperatingSystemMXBean)
            ManagementFactory.getOperatingSystemMXBean();
        return system.getProcessCpuTime() / 1e9;
    }

    private static double peakMiB() throws IOException {
        for (var line : Files.readAllLines(Path.of("/proc/self/status"))) {
            if (line.startsWith("VmHWM:")) {
                return Long.parseLong(line.replaceAll("[^0-9]", "")) / 1024.0;
            }
        }
        throw new IllegalStateException("the process shows no peak of its memory; Linux does");
    }

    private Orders() {}
}
