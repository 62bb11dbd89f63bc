import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.File;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Duration;
import java.time.Instant;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * The work of ingest, dedupe and aggregate as a careful user of Kafka Streams would write it, in one process.
 *
 * Arguments: brokers, state folder, file with the meters, guarantee (exactly_once_v2 or at_least_once), threads,
 * milliseconds between commits. The topics peer-* exist. It reads the meters of the load `plain`: paths of one step,
 * and no MIN or LATEST. It never forgets an identity, which is less work than to forget it after the horizon.
 */
public class KafkaStreamsPeer {
    record Dimension(String name, String field) {}

    record Meter(String slug, String aggregation, String field, List<Dimension> groupBy) {}

    static final ObjectMapper JSON = new ObjectMapper()
        .enable(DeserializationFeature.USE_BIG_DECIMAL_FOR_FLOATS)
        .enable(DeserializationFeature.FAIL_ON_READING_DUP_TREE_KEY)
        .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);
    static final Map<String, List<Meter>> METERS = new HashMap<>();
    static final Duration HORIZON = Duration.ofDays(32);
    static final Duration FUTURE = Duration.ofDays(1);

    static class Ingest implements Processor<byte[], byte[], String, byte[]> {
        ProcessorContext<String, byte[]> context;

        public void init(ProcessorContext<String, byte[]> context) {
            this.context = context;
        }

        public void process(Record<byte[], byte[]> record) {
            ObjectNode event;
            byte[] value;
            try {
                event = check(record);
                value = JSON.writeValueAsBytes(event);
            } catch (Exception refused) {
                context.forward(record.withKey((String) null), "rejected");
                return;
            }
            String identity = event.get("source").textValue() + "|" + event.get("id").textValue();
            context.forward(record.withKey(identity).withValue(value), "accepted");
        }

        ObjectNode check(Record<byte[], byte[]> record) throws Exception {
            ObjectNode event = (ObjectNode) JSON.readTree(record.value());
            for (String name : new String[] {"specversion", "id", "source", "type", "subject"}) {
                JsonNode text = event.get(name);
                if (text == null || !text.isTextual() || text.textValue().isEmpty()) throw new IllegalArgumentException(name);
            }
            if (!event.get("specversion").textValue().equals("1.0")) throw new IllegalArgumentException("specversion");
            JsonNode data = event.get("data");
            if (data != null && !data.isNull() && !data.isObject()) throw new IllegalArgumentException("data");
            Instant now = Instant.ofEpochMilli(record.timestamp());
            Instant at = event.has("time") ? OffsetDateTime.parse(event.get("time").textValue()).toInstant() : now;
            if (at.isBefore(now.minus(HORIZON)) || at.isAfter(now.plus(FUTURE))) throw new IllegalArgumentException("time");
            return event.put("minute", at.getEpochSecond() / 60 * 60);
        }
    }

    static class Dedupe implements Processor<String, byte[], String, byte[]> {
        static final byte[] SEEN = {1};
        ProcessorContext<String, byte[]> context;
        KeyValueStore<byte[], byte[]> seen;
        MessageDigest md5;

        public void init(ProcessorContext<String, byte[]> context) {
            this.context = context;
            seen = context.getStateStore("seen");
            try {
                md5 = MessageDigest.getInstance("MD5");
            } catch (Exception error) {
                throw new IllegalStateException(error);
            }
        }

        public void process(Record<String, byte[]> record) {
            byte[] identity = md5.digest(record.key().getBytes(StandardCharsets.UTF_8));
            if (seen.putIfAbsent(identity, SEEN) != null) context.forward(record, "duplicates");
            else context.forward(record.withKey(read(record.value()).get("subject").textValue()), "unique");
        }
    }

    static class Aggregate implements Processor<String, byte[], String, byte[]> {
        ProcessorContext<String, byte[]> context;
        KeyValueStore<String, byte[]> windows;
        KeyValueStore<String, byte[]> members;

        public void init(ProcessorContext<String, byte[]> context) {
            this.context = context;
            windows = context.getStateStore("windows");
            members = context.getStateStore("members");
        }

        public void process(Record<String, byte[]> record) {
            ObjectNode event = read(record.value());
            List<Meter> wanted = METERS.getOrDefault(event.get("type").textValue(), List.of());
            List<String> took = new ArrayList<>();
            for (Meter meter : wanted) if (fold(meter, record, event)) took.add(meter.slug());
            event.put("fate", wanted.isEmpty() ? "unmetered" : took.isEmpty() ? "invalid" : "counted");
            ArrayNode names = event.putArray("meters");
            took.forEach(names::add);
            context.forward(record.withValue(write(event)), "settled");
        }

        boolean fold(Meter meter, Record<String, byte[]> record, ObjectNode event) {
            JsonNode data = event.path("data");
            JsonNode found = meter.field() == null ? null : data.get(meter.field());
            if (meter.field() != null && (found == null || found.isNull())) return false;
            BigDecimal value = BigDecimal.ONE;
            if (meter.field() != null && !meter.aggregation().equals("UNIQUE_COUNT")) {
                try {
                    value = found.isTextual() ? new BigDecimal(found.textValue()) : found.decimalValue();
                } catch (NumberFormatException error) {
                    return false;
                }
            }
            StringBuilder name = new StringBuilder(meter.slug()).append('|').append(record.key());
            name.append('|').append(event.get("minute").longValue());
            for (Dimension by : meter.groupBy()) name.append('|').append(data.path(by.field()).asText(""));
            String key = name.toString();
            byte[] old = windows.get(key);
            ObjectNode window = old == null ? JSON.createObjectNode() : read(old);
            BigDecimal before = old == null ? null : window.get("value").decimalValue();
            BigDecimal after = switch (meter.aggregation()) {
                case "MAX" -> before == null ? value : before.max(value);
                case "UNIQUE_COUNT" -> {
                    BigDecimal count = before == null ? BigDecimal.ZERO : before;
                    boolean isNew = members.putIfAbsent(key + '|' + found.asText(), new byte[] {1}) == null;
                    yield isNew ? count.add(value) : count;
                }
                default -> before == null ? value : before.add(value);
            };
            window.put("value", after).put("count", old == null ? 1 : window.get("count").longValue() + 1);
            byte[] written = write(window);
            windows.put(key, written);
            context.forward(new Record<>(key, written, record.timestamp()), "usage");
            return true;
        }
    }

    static ObjectNode read(byte[] value) {
        try {
            return (ObjectNode) JSON.readTree(value);
        } catch (Exception error) {
            throw new IllegalStateException(error);
        }
    }

    static byte[] write(ObjectNode node) {
        try {
            return JSON.writeValueAsBytes(node);
        } catch (Exception error) {
            throw new IllegalStateException(error);
        }
    }

    static String step(JsonNode path) {
        return path == null ? null : path.textValue().substring("$.".length());
    }

    static void readMeters(String file) throws Exception {
        for (JsonNode meter : JSON.readTree(new File(file))) {
            Map<String, Dimension> by = new TreeMap<>();
            meter.path("groupBy").fields().forEachRemaining(
                one -> by.put(one.getKey(), new Dimension(one.getKey(), step(one.getValue()))));
            METERS.computeIfAbsent(meter.get("eventType").textValue(), type -> new ArrayList<>()).add(new Meter(
                meter.get("slug").textValue(), meter.get("aggregation").textValue(), step(meter.get("valueProperty")),
                List.copyOf(by.values())));
        }
    }

    static Topology topology() {
        var bytes = new ByteArraySerializer();
        var text = new StringSerializer();
        var readBytes = new ByteArrayDeserializer();
        var readText = new StringDeserializer();
        Serde<String> aText = Serdes.String();
        Serde<byte[]> aBytes = Serdes.ByteArray();
        Map<String, String> logged = Map.of();
        return new Topology()
            .addSource("in", readBytes, readBytes, "events")
            .addProcessor("ingest", Ingest::new, "in")
            .addSink("accepted", "peer-accepted", text, bytes, "ingest")
            .addSink("rejected", "peer-rejected", text, bytes, "ingest")
            .addSource("from-accepted", readText, readBytes, "peer-accepted")
            .addProcessor("dedupe", Dedupe::new, "from-accepted")
            .addStateStore(Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore("seen"), aBytes, aBytes)
                .withLoggingEnabled(logged), "dedupe")
            .addSink("unique", "peer-unique", text, bytes, "dedupe")
            .addSink("duplicates", "peer-duplicates", text, bytes, "dedupe")
            .addSource("from-unique", readText, readBytes, "peer-unique")
            .addProcessor("aggregate", Aggregate::new, "from-unique")
            .addStateStore(Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore("windows"), aText, aBytes)
                .withCachingEnabled().withLoggingEnabled(logged), "aggregate")
            .addStateStore(Stores.keyValueStoreBuilder(Stores.persistentKeyValueStore("members"), aText, aBytes)
                .withLoggingEnabled(logged), "aggregate")
            .addSink("usage", "peer-usage", text, bytes, "aggregate")
            .addSink("settled", "peer-settled", text, bytes, "aggregate");
    }

    public static void main(String[] arguments) throws Exception {
        readMeters(arguments[2]);
        Properties settings = new Properties();
        settings.put("application.id", "peer");
        settings.put("bootstrap.servers", arguments[0]);
        settings.put("state.dir", arguments[1]);
        settings.put("processing.guarantee", arguments[3]);
        settings.put("num.stream.threads", arguments[4]);
        settings.put("commit.interval.ms", arguments[5]);
        settings.put("replication.factor", "1");
        settings.put("auto.offset.reset", "earliest");
        settings.put("producer.compression.type", "lz4");
        settings.put("producer.linger.ms", "50");
        settings.put("producer.batch.size", "262144");
        KafkaStreams streams = new KafkaStreams(topology(), settings);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(5))));
        streams.start();
    }
}
