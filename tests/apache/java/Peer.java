import com.alibaba.fastjson.JSON;
import com.alibaba.fastjson.JSONObject;
import com.alibaba.fastjson.serializer.SerializerFeature;
import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.ClientConfig;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageClientExt;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * Apache's Java client, driven by lines. A line of the standard input is a command, a JSON object whose "do" names it. Each is
 * answered by one line: {"ok":...} or {"error":...}. What a consumer receives is a line of its own: {"message":{...}}.
 * The end of the input is the end of all clients. Bodies are in hexadecimal.
 */
public class Peer {
    interface Command {
        Object run(JSONObject in) throws Exception;
    }

    private static final int TIMEOUT_MILLIS = 30_000;
    private static final PrintStream OUT = new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);
    private final String nameServer;
    private final Map<String, Command> commands = new HashMap<>();
    private final Map<String, DefaultMQPushConsumer> consumers = new HashMap<>();
    private DefaultMQProducer producer;

    private Peer(String nameServer) {
        this.nameServer = nameServer;
        commands.put("send", this::send);
        commands.put("consume", this::consume);
        commands.put("queues", this::queues);
        commands.put("stop", this::stop);
    }

    public static void main(String[] args) throws Exception {
        // What the client's logging says of itself is not an answer.
        System.setOut(System.err);
        Peer peer = new Peer(args[0]);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            peer.answer(JSON.parseObject(line));
        }
        peer.consumers.values().forEach(DefaultMQPushConsumer::shutdown);
        if (peer.producer != null) {
            peer.producer.shutdown();
        }
        System.exit(0);
    }

    private void answer(JSONObject in) {
        try {
            print("ok", commands.get(in.getString("do")).run(in));
        } catch (Exception e) {
            e.printStackTrace();
            print("error", e.toString());
        }
    }

    private static void print(String kind, Object value) {
        OUT.println(JSON.toJSONString(new JSONObject().fluentPut(kind, value), SerializerFeature.WriteMapNullValue));
    }

    /** topic, body, tag, keys, flag, properties. */
    private Object send(JSONObject in) throws Exception {
        SendResult result = producer().send(message(in));
        return new JSONObject().fluentPut("status", result.getSendStatus().name()).fluentPut("msgId", result.getMsgId())
            .fluentPut("offsetMsgId", result.getOffsetMsgId()).fluentPut("queueOffset", result.getQueueOffset())
            .fluentPut("queueId", result.getMessageQueue().getQueueId())
            .fluentPut("brokerName", result.getMessageQueue().getBrokerName());
    }

    /** as (the name of this consumer), group, topic, tags, broadcast. From the first offset, always with success. */
    private Object consume(JSONObject in) throws Exception {
        String name = in.getString("as");
        DefaultMQPushConsumer consumer = configured(new DefaultMQPushConsumer(in.getString("group")), name);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(in.getString("topic"), in.getString("tags"));
        if (in.getBooleanValue("broadcast")) {
            // By its name: the enum's package is another one in 4.9 than in 5.x.
            consumer.setMessageModel(Enum.valueOf(consumer.getMessageModel().getDeclaringClass(), "BROADCASTING"));
        }
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(message -> print("message", received(message).fluentPut("consumer", name)));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        consumers.put(name, consumer);
        return null;
    }

    /** as, topic. The numbers of the queues that the consumer has. */
    private Object queues(JSONObject in) {
        return consumers.get(in.getString("as")).getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().keySet()
            .stream().filter(queue -> queue.getTopic().equals(in.getString("topic"))).map(MessageQueue::getQueueId).sorted()
            .collect(Collectors.toList());
    }

    /** as. */
    private Object stop(JSONObject in) {
        consumers.remove(in.getString("as")).shutdown();
        return null;
    }

    private DefaultMQProducer producer() throws Exception {
        if (producer == null) {
            producer = configured(new DefaultMQProducer("java_producers"), "producer");
            producer.setSendMsgTimeout(TIMEOUT_MILLIS);
            producer.start();
        }
        return producer;
    }

    private <C extends ClientConfig> C configured(C client, String name) {
        client.setNamesrvAddr(nameServer);
        // Clients of one name share connections, routes and an identity.
        client.setInstanceName(name);
        // The machines that tests run on are busy.
        client.setMqClientApiTimeout(TIMEOUT_MILLIS);
        return client;
    }

    private static Message message(JSONObject in) {
        Message message = new Message(in.getString("topic"), in.getString("tag"), in.getString("keys"), in.getIntValue("flag"),
            HexFormat.of().parseHex(in.getString("body")), true);
        JSONObject properties = in.getJSONObject("properties");
        if (properties != null) {
            properties.forEach((key, value) -> message.putUserProperty(key, (String) value));
        }
        return message;
    }

    private static JSONObject received(MessageExt message) {
        Map<String, String> properties = new HashMap<>(message.getProperties());
        // These are the receiving client's, not the message's.
        properties.remove(MessageConst.PROPERTY_MIN_OFFSET);
        properties.remove(MessageConst.PROPERTY_MAX_OFFSET);
        properties.remove(MessageConst.PROPERTY_CONSUME_START_TIMESTAMP);
        return new JSONObject().fluentPut("topic", message.getTopic()).fluentPut("brokerName", message.getBrokerName())
            .fluentPut("queueId", message.getQueueId()).fluentPut("queueOffset", message.getQueueOffset())
            .fluentPut("commitLogOffset", message.getCommitLogOffset()).fluentPut("msgId", message.getMsgId())
            .fluentPut("offsetMsgId", ((MessageClientExt) message).getOffsetMsgId())
            .fluentPut("tag", message.getTags()).fluentPut("keys", message.getKeys()).fluentPut("flag", message.getFlag())
            .fluentPut("properties", properties).fluentPut("reconsumeTimes", message.getReconsumeTimes())
            .fluentPut("bornTimestamp", message.getBornTimestamp()).fluentPut("bornHost", host(message.getBornHost()))
            .fluentPut("storeTimestamp", message.getStoreTimestamp()).fluentPut("storeHost", host(message.getStoreHost()))
            .fluentPut("body", HexFormat.of().formatHex(message.getBody()));
    }

    private static String host(SocketAddress address) {
        InetSocketAddress host = (InetSocketAddress) address;
        return host.getAddress().getHostAddress() + ":" + host.getPort();
    }
}
